"""JupyterHub's configuration, one concern a file. The operator's own YAML is named by FACTORYGATE_HUB_CONFIG."""

from pathlib import Path

from factoryspawner import gateway, hubconfig, mistakes, rules, settings

with mistakes.told_in_words():
    config = hubconfig.loaded()
    for part in ("network.py", "people.py", "sessions.py", "pages.py"):
        load_subconfig(str(Path(__file__).parent / "parts" / part))
    if config.extra_config is not None:
        load_subconfig(str(config.extra_config))
    settings.check_all(c)
    rules.check_tokens(c)
    gateway.subscribe(config.link_socket, config.database, rules.of(c, config.login))
