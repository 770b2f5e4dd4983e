"""JupyterHub's configuration; each file in ``parts`` has one topic.

The environment variable FACTORYGATE_HUB_CONFIG names the operator's YAML file.
"""

from pathlib import Path

from factorycommon.garbage_collection import collect_less_often
from factoryspawner import gateway, link_rules
from factoryspawner.config import batch_settings, errors, hub_config, token_hashes

with errors.told_in_words():
    config = hub_config.loaded()
    for part in ("network.py", "people.py", "sessions.py", "pages.py"):
        load_subconfig(str(Path(__file__).parent / "parts" / part))
    if config.extra_config is not None:
        load_subconfig(str(config.extra_config))
    batch_settings.check_all(c)
    link_rules.check_tokens(c)
    token_hashes.trust_random_tokens(c)
    gateway.subscribe(config.link_at, config.database, link_rules.of(c, config.login))
    collect_less_often()
