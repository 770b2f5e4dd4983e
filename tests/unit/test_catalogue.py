"""The catalogue: operators' mistakes, people's wrong choices, and the loading of every shipped file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from factorycommon.models import Choice, Factory, JobOptions
from factorylink.catalogue import loading
from factorylink.config import Access

SHIPPED = Path(__file__).parents[2] / "hub_config" / "factories"
Data = dict[str, Any]

GOOD = """\
id: here
name: Here
state: live
site: {machine: M, host: H, city: C, country: FI}
scheduler: slurm
accelerator: {vendor: NVIDIA, model: A100, memory_gb: 64, per_node: 4, gres_type: a100}
node: {cores: 32, memory_gb: 500}
partitions:
  - {name: gpu, max_hours: 24}
  - {name: cpu, max_hours: 48, gpus: false}
qos:
  - {name: quick, max_hours: 0.5}
  - {name: slow, max_hours: 96}
sizes:
  - {id: gpu-2, gpus: 2, cores: 16, memory_gb: 250, partition: gpu, max_hours: 24, billed_as: half}
  - {id: gpu-1, gpus: 1, cores: 8, memory_gb: 125, partition: gpu, max_hours: 24, billed_as: quarter}
  - {id: quick, gpus: 1, cores: 8, memory_gb: 125, partition: gpu, qos: quick, max_hours: 0.5, billed_as: quarter}
environments:
  - {id: basic, title: Basic, kind: venv, python: /opt/basic/bin/python}
  - id: big
    title: Big
    kind: container
    image: /opt/big.sif
    python: /usr/bin/python3
    sizes: [gpu-2]
outbound: none
agreement: {who: The operator, when: 2026-01-31, contact: help@here.example}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a text to the file here.yaml in a new folder, and returns the folder."""

    def _write(text: str) -> Path:
        (tmp_path / "here.yaml").write_text(text)
        return tmp_path

    return _write


@pytest.fixture
def here(write: Callable[[str], Path]) -> Factory:
    return loading.load(write(GOOD))["here"]


def problems(folder: Path) -> list[str]:
    with pytest.raises(loading.CatalogueError) as caught:
        loading.load(folder)
    return [line.removeprefix(f"{folder}/") for line in caught.value.problems]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("state: live", "state: alive", "here.yaml:3: state: 'alive': input should be 'live', 'template' or 'planned'"),
        ("state: live\n", "", "here.yaml:1: state: is missing"),
        ("name: Here", "nmae: Here", "here.yaml:2: nmae: unknown key; allowed: accelerator, account_example,"),
        ("country: FI", "country: NO", "here.yaml:4: site.country: False:"),
        ("country: FI", "country: fin", "here.yaml:4: site.country: 'fin' is not a country code of two"),
        ("country: FI", "counrty: FI", "here.yaml:4: site.counrty: unknown key; allowed: account_help, at, city, "),
        ("name: gpu, max_hours: 24", "name: gpu, max_hours: soon", "here.yaml:9: partitions.gpu.max_hours: 'soon': "),
        ("name: gpu, max_hours: 24", "name: gpu, max_hours: .inf", "here.yaml:9: partitions.gpu.max_hours: inf: "),
        ("name: gpu, max_hours: 24", "name: gpu, max_hours: -1", "here.yaml:9: partitions.gpu.max_hours: -1: "),
        ("name: cpu,", "name: cpu, colour: red,", "here.yaml:10: partitions.cpu.colour: unknown key; allowed: acc"),
        ("name: cpu,", 'name: "cpu --uid=0",', "here.yaml:10: partitions.cpu --uid=0.name: 'cpu --uid=0' is not one"),
        ("partition: gpu, max_hours: 24, billed_as: half", "partition: gup, max_hours: 24, billed_as: half",
         "here.yaml:15: sizes.gpu-2.partition: 'gup' is none of ['cpu', 'gpu']"),
        ("max_hours: 24, billed_as: half", "max_hours: 25, billed_as: half",
         "here.yaml:15: sizes.gpu-2.max_hours: 25 is above the 24 h of partition gpu"),
        ("qos: quick, max_hours: 0.5, b", "qos: quick, max_hours: 1, b",
         "here.yaml:17: sizes.quick.max_hours: 1 is above the 0.5 h of QOS quick"),
        ("qos: quick, max_hours: 0.5, b", "qos: quikc, max_hours: 0.5, b",
         "here.yaml:17: sizes.quick.qos: 'quikc' is none of ['quick', 'slow']"),
        ("qos: quick, max_hours: 0.5, b", "qos: quick, max_hours: 0.5, default_hours: 2, b",
         "here.yaml:17: sizes.quick.default_hours: above max_hours, 0.5"),
        ("cores: 16", "cores: 64", "here.yaml:15: sizes.gpu-2: more than a node has (32 cores, 500 GB)"),
        ("gpus: 2", "gpus: 8", "here.yaml:15: sizes.gpu-2.gpus: more than a node has, 4"),
        ("gpus: 2", "gpus: two", "here.yaml:15: sizes.gpu-2.gpus: 'two': "),
        ("gpus: 2", "gpus: 2, gres: 'gpu:1g.10gb:2', billed_gpus: 2/0",
         "here.yaml:15: sizes.gpu-2.billed_gpus: '2/0' is no share of a GPU; allowed: a fraction such as 1/7"),
        ("gpus: 2", "gpus: 2, gres: 'gpu:1g.10gb:2', billed_gpus: -0.5",
         "here.yaml:15: sizes.gpu-2.billed_gpus: '-0.5' is no share"),
        ("gpus: 2", "gpus: 2, billed_gpus: 1/7",
         "here.yaml:15: sizes.gpu-2.gres: None is no slice of a GPU; with billed_gpus it is gpu:TYPE:NUMBER"),
        ("gpus: 2", "gpus: 2, gres: 'gpu:a100:2', billed_gpus: 1/7",
         "here.yaml:15: sizes.gpu-2.gres: 'gpu:a100:2' is no slice of a GPU; with billed_gpus it is gpu:TYPE:NUMBER"),
        ("gpus: 2", "gpus: 2, gres: 'shard:2', billed_gpus: 0.5",
         "here.yaml:15: sizes.gpu-2.gpus: 2, but shard:2 is seen as 1; allowed: 1"),
        ("gpus: 2", "gpus: 2, gres: 'gpu:1g.10gb:2', billed_gpus: 5/2",
         "here.yaml:15: sizes.gpu-2.billed_gpus: 5/2 is above the 2 of gpus"),
        ("id: gpu-2", "id: gpu-1", "here.yaml:14: sizes: an id is used twice"),
        ("id: gpu-2", "id: GPU 2", "here.yaml:15: sizes.GPU 2.id: 'GPU 2' is not small letters, digits and '-'"),
        ("id: big", "id: basic", "here.yaml:18: environments: an id is used twice"),
        ("sizes: [gpu-2]", "sizes: [gpu-3]", "here.yaml:25: environments.big.sizes: 'gpu-3' is none of"),
        ("image: /opt/big.sif\n    ", "", "here.yaml:20: environments.big.image: needed for kind container"),
        ("python: /opt/basic/bin/python", "python: python3", "here.yaml:19: environments.basic.python: 'python3' is"),
        ("python: /opt/basic/bin/python", "python: '/bin/sh -c x'", "here.yaml:19: environments.basic.python: "),
        ("outbound: none", "outbound: none\ndefault_environment: small",
         "here.yaml:27: default_environment: 'small' is none of ['basic', 'big']"),
        ("outbound: none", "outbound: none\nname: There", "here.yaml:27: name: the key is there twice"),
        ("outbound: none", "outbound: [", "here.yaml:28: not valid YAML: "),
        ("outbound: none", "outbound: !!python/object/apply:os.system [id]", "here.yaml:26: not valid YAML: "),
        ("id: here", "id: there", "here.yaml:1: id: 'there' is not the file's name; allowed: 'here'"),
        ("scheduler: slurm", "scheduler: lsf", "here.yaml:5: scheduler: 'lsf': input should be 'slurm' or 'pbs'"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_named_with_file_line_and_key(
    write: Callable[[str], Path], old: str, new: str, expected: str
) -> None:
    assert old in GOOD
    found = problems(write(GOOD.replace(old, new, 1)))
    assert [line for line in found if line.startswith(expected)], found


def test_all_problems_of_all_files_come_at_once(write: Callable[[str], Path]) -> None:
    folder = write(GOOD.replace("state: live", "state: x").replace("outbound: none", "outbound: maybe"))
    (folder / "other.yaml").write_text("- no mapping\n")
    assert len(problems(folder)) == 3


@pytest.mark.parametrize("text", ["", "just words", "- a\n- b\n", "\x00"])
def test_a_file_that_is_no_factory_is_refused_with_its_name(write: Callable[[str], Path], text: str) -> None:
    assert problems(write(text))[0].startswith("here.yaml")


def test_an_empty_or_missing_folder_is_said(tmp_path: Path) -> None:
    assert "holds no factory" in problems(tmp_path)[0]
    with pytest.raises(loading.CatalogueError, match="no such folder"):
        loading.load(tmp_path / "none")


def test_a_qos_may_allow_more_hours_than_the_partition(write: Callable[[str], Path]) -> None:
    slow = "partition: gpu, qos: slow, max_hours: 96, billed_as: half"
    text = GOOD.replace("partition: gpu, max_hours: 24, billed_as: half", slow)
    assert loading.load(write(text))["here"].sizes[0].max_hours == 96


# --- choices --------------------------------------------------------------------------------------------------------


def test_an_empty_choice_takes_the_smallest_size_and_the_defaults(here: Factory) -> None:
    resolved = loading.resolve(here, Choice())
    assert (resolved.size, resolved.environment, resolved.hours) == ("gpu-1", "basic", 1)
    assert (resolved.idle_minutes, resolved.unopened_minutes) == (60, 30)


def test_the_default_hours_never_pass_the_sizes_limit(here: Factory) -> None:
    assert loading.resolve(here, Choice(size="quick")).hours == 0.5


def test_the_default_environment_is_one_that_fits(here: Factory) -> None:
    prefers_big = here.model_copy(update={"default_environment": "big"})
    assert loading.resolve(prefers_big, Choice(size="gpu-2")).environment == "big"
    assert loading.resolve(prefers_big, Choice(size="gpu-1")).environment == "basic"


@pytest.mark.parametrize(
    ("choice", "field", "words"),
    [
        ({"factory": "there"}, "factory", "'there'"),
        ({"size": "gpu-3"}, "size", "gpu-2, gpu-1, quick"),
        ({"environment": "conda"}, "environment", "basic, big"),
        ({"size": "gpu-1", "environment": "big"}, "environment", "it fits: gpu-2"),
        ({"size": "gpu-1", "hours": 24.1}, "hours", "at most 24 h"),
        ({"size": "quick", "hours": 0.6}, "hours", "at most 0.5 h"),
        ({"hours": 0.001}, "hours", "at least one minute"),
        ({"idle_minutes": 481}, "idle_minutes", "1 to 480"),
        ({"unopened_minutes": 121}, "unopened_minutes", "1 to 120"),
    ],
)
def test_a_wrong_choice_is_refused_in_words(here: Factory, choice: Data, field: str, words: str) -> None:
    with pytest.raises(loading.ChoiceError) as caught:
        loading.resolve(here, Choice(**choice))
    assert caught.value.field == field
    assert words in caught.value.message


@pytest.mark.parametrize(
    "choice",
    [
        {"size": "gpu-1\n#SBATCH --exclusive"},
        {"size": "--uid=0"},
        {"environment": "$(id)"},
        {"hours": float("nan")},
        {"hours": float("inf")},
        {"hours": 0},
        {"hours": -1},
        {"hours": "forever"},
        {"idle_minutes": 0},
        {"partition": "gpu"},
        {"project": "a b"},
    ],
)
def test_a_choice_holds_ids_only(choice: Data) -> None:
    with pytest.raises(ValidationError):
        Choice(**choice)


def test_an_amount_that_no_size_has_is_refused_in_words(here: Factory) -> None:
    only_big = here.model_copy(update={"environments": here.environments[1:]})
    with pytest.raises(loading.ChoiceError, match="No environment of M fits the node size gpu-1"):
        loading.resolve(only_big, Choice())


def test_gpu_labels() -> None:
    lumi = loading.load(SHIPPED)["lumi-aif"]
    assert loading.gpu_label(lumi, lumi.sizes[1]) == "2 x MI250X GCD 64 GB"
    without = lumi.sizes[0].model_copy(update={"gpus": 0})
    assert loading.gpu_label(lumi, without) == "no GPU"


# --- the job request ------------------------------------------------------------------------------------------------

ACCESS = Access(account_pool=("fg1",), job_account="grant-1", job_qos="project-1")


def request(factory: Factory, choice: Choice, options: JobOptions = JobOptions()) -> Any:  # noqa: B008 (frozen)
    return loading.job_request(
        factory,
        ACCESS,
        loading.resolve(factory, choice),
        options,
        name="factorygate-hub",
        comment="fg:0:0",
        folder="/home/fg1/.factorygate/sessions/0",
        argv=("-m", "factorygate.session"),
    )


def test_the_job_request_carries_the_choice(here: Factory) -> None:
    job = request(here, Choice(size="gpu-2", hours=1.5))
    assert (job.partition, job.account, job.qos, job.walltime) == ("gpu", "grant-1", "project-1", 5400)
    assert (job.gpus, job.cores, job.memory_gb, job.gpu_type) == (2, 16, 250, None)
    assert job.output == "/home/fg1/.factorygate/sessions/0/job.log"
    assert job.command == ("/opt/basic/bin/python", "-m", "factorygate.session")
    assert job.setup == ()


def test_qos_goes_from_the_operator_to_the_size_to_the_hub(here: Factory) -> None:
    assert request(here, Choice(size="quick")).qos == "quick"
    assert request(here, Choice(size="quick"), JobOptions(qos="special")).qos == "special"


def test_operators_lines_come_after_the_environments(here: Factory) -> None:
    job = request(here, Choice(), JobOptions(prologue="a\nb", epilogue="c"))
    assert job.setup[-2:] == ("a", "b")
    assert job.teardown == ("c",)


def test_a_container_runs_the_door_inside(here: Factory) -> None:
    job = request(here, Choice(size="gpu-2", environment="big"))
    assert job.command[:5] == ("apptainer", "exec", "--nv", "/opt/big.sif", "/usr/bin/python3")


def test_modules_are_loaded_and_gpus_typed_where_the_site_does(here: Factory) -> None:
    data = here.model_dump(mode="json")
    data["gpu_syntax"] = "gres-typed"
    data["environments"][0] |= {"kind": "module", "modules": ["cuda/12", "python"]}
    job = request(Factory.model_validate(data), Choice())
    assert job.gpu_type == "a100"
    assert "module load cuda/12" in job.setup


# --- the link's configuration ---------------------------------------------------------------------------------------

TLS = "tls: {certificate: c, key: k, authority: a}"
LINK = """\
catalogue: factories
state_dir: /var/lib/factorygate
socket: /run/factorygate/link.sock
hub: {token_file: token}
factories:
  here:
    account_pool: [fg1]
"""


@pytest.fixture
def link(tmp_path: Path) -> Callable[[str], Path]:
    def _write(text: str) -> Path:
        (tmp_path / "factories").mkdir(exist_ok=True)
        (tmp_path / "factories" / "here.yaml").write_text(GOOD)
        (tmp_path / "link.yaml").write_text(text)
        return tmp_path / "link.yaml"

    return _write


def test_relative_paths_are_relative_to_the_file(link: Callable[[str], Path]) -> None:
    config = loading.load_link_config(link(LINK))
    assert config.catalogue.is_dir()
    assert config.hub.token_file == config.catalogue.parent / "token"
    assert config.state_dir == Path("/var/lib/factorygate")
    assert list(loading.offered(config, loading.load(config.catalogue))) == ["here"]


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ("", "http://127.0.0.1:20001"),
        ("sessions: {listen_host: '::1'}", "http://[::1]:20001"),
        (f"{TLS}\nsessions: {{listen_host: 0.0.0.0, advertise: link}}", "https://link:20001"),
    ],
)
def test_the_session_url_is_the_address_for_the_proxy(link: Callable[[str], Path], settings: str, url: str) -> None:
    config = loading.load_link_config(link(f"{settings}\nkey_dir: keys\n{LINK}"))
    folder = config.hub.token_file.parent
    assert config.session_url(20001) == url
    assert config.keys == folder / "keys"
    assert config.tls is None or config.tls.key == folder / "k"
    assert loading.load_link_config(link(LINK)).keys == Path("/var/lib/factorygate")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("account_pool: [fg1]", "account_pool: []", "link.yaml:6: factories.here.accounts: it and account_pool are"),
        ("account_pool: [fg1]", "account_pol: [fg1]", "link.yaml:7: factories.here.account_pol: unknown key"),
        ("account_pool: [fg1]", "account_pool: [Root User]", "link.yaml:7: factories.here.account_pool.0: 'Root"),
        ("token_file: token", "base_url: no-slash, token_file: token", "link.yaml:4: hub.base_url: 'no-slash'"),
        ("hub: {token_file: token}\n", "", "link.yaml:1: hub: is missing"),
        ("  here:", "  HERE:", "link.yaml:6: factories.HERE: 'HERE' is not small letters"),
        ("hub:", "hub_listener: {host: 0.0.0.0, port: 1}\nhub:", "link.yaml:4: hub_listener: needs tls"),
        ("hub:", "metrics: {host: h, port: 1, tls: true}\nhub:", "link.yaml:4: metrics.tls: needs tls"),
        ("hub:", "sessions: {listen_host: 10.0.0.1}\nhub:", "link.yaml:4: sessions.listen_host: needs tls"),
        ("hub:", "sessions: {advertise: link}\nhub:", "link.yaml:4: sessions.advertise: needs tls"),
        ("hub:", "sessions: {listen_host: 0.0.0.0}\nhub:", "link.yaml:4: sessions.advertise: is missing"),
    ],
)
def test_a_wrong_link_configuration_is_named_the_same_way(
    link: Callable[[str], Path], old: str, new: str, expected: str
) -> None:
    assert old in LINK
    path = link(LINK.replace(old, new, 1))
    with pytest.raises(loading.CatalogueError) as caught:
        loading.load_link_config(path)
    lines = [line.removeprefix(f"{path.parent}/") for line in caught.value.problems]
    assert [line for line in lines if line.startswith(expected)], lines


@pytest.mark.parametrize(
    ("factory", "access", "expected"),
    [
        ({"state": "template"}, {}, "confirmed by nobody"),
        ({"agreement": None}, {}, "'live' without an 'agreement'"),
        ({"policy": {"replacement": "no"}}, {}, "policy.replacement is 'no', and 'agreement.allows' does not name it"),
        ({"policy": {"unattended_submit": "ask"}}, {}, "policy.unattended_submit is 'ask'"),
        ({"policy": {"submits_per_minute": 5}}, {"submits_per_minute": 6}, "submits_per_minute: 6 is more than .* 5"),
        ({"qos_mandatory": True}, {}, "factories.here.job_qos: is missing"),
        ({"sizes": [], "environments": [{"id": "x", "title": "X", "kind": "venv", "python": "/x"}],
          "sketches": [{"id": "gpu-1", "gpus": 1, "cores": 8}]}, {},
         "gpu-1 lacks memory_gb, partition, max_hours"),
        ({"account_mandatory": True}, {}, "factories.here.job_account: is missing"),
        ({"id": "other"}, {}, "factories.here: not in"),
        ({"default_environment": None}, {"environments": [
            {"id": "x", "title": "X", "kind": "venv", "python": "/x", "sizes": ["huge"]}]}, "'huge' is none of"),
    ],
)  # fmt: skip
def test_reasons_against_offering_a_factory_are_explained(
    link: Callable[[str], Path], factory: Data, access: Data, expected: str
) -> None:
    data = yaml.safe_load(LINK)
    data["factories"]["here"] |= access
    config = loading.load_link_config(link(yaml.safe_dump(data)))
    entry = Factory.model_validate({**yaml.safe_load(GOOD), **factory})
    with pytest.raises(loading.CatalogueError, match=expected):
        loading.offered(config, {entry.id: entry})


def test_a_testbed_offers_a_template_with_its_own_environment(here: Factory) -> None:
    access = Access.model_validate(
        {
            "account_pool": ["fg1"],
            "testbed": True,
            "environments": [{"id": "demo", "title": "Demo", "kind": "venv", "python": "/demo/bin/python"}],
            "notebook_folder": {"path": "~/notebooks"},
            "idle": {"idle_minutes": 5},
        }
    )
    changed = loading.apply(here.model_copy(update={"default_environment": "big"}), access)
    assert loading.resolve(changed, Choice()).environment == "demo"
    assert changed.notebook_folder.path == "~/notebooks"
    assert loading.resolve(changed, Choice()).idle_minutes == 5
    assert loading.apply(here, ACCESS) is here
