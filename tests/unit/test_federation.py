"""The shipped catalogue: 19 factories and 13 antennas; each value has an origin, and no session can be started.

The factories and their environments are templates, which a gateway's operator must complete first.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from factorycommon.models import (
    Choice,
    ComingView,
    Environment,
    Factory,
    FactoryView,
    JobOptions,
    NetworkEntry,
    NetworkView,
    Planned,
)
from factorylink.catalogue import catalogue as federation
from factorylink.catalogue import listing, loading
from factorylink.catalogue.choices import bridge_argv, job_request, resolve
from factorylink.catalogue.loading import CatalogueError
from factorylink.catalogue.site_answers import QUESTIONS
from factorylink.cli import catalogue as cli_catalogue
from factorylink.cli import main as cli
from factorylink.config import Access, Hub, LinkConfig
from testbed.errors import CannotLayOut
from testbed.slurm import layout

CHECKOUT = Path(__file__).parents[2]
FOLDER = CHECKOUT / "hub_config" / "factories"
ANTENNAS = CHECKOUT / "hub_config" / "antennas.yaml"
ALL = federation.load(FOLDER, ANTENNAS)
IDS = [
    "1healthai", "ai2f", "aiat", "brainpp", "bsc-aif", "czai", "gaia", "hammerhai", "it4lia", "jaif", "l-aif", "litai",
    "lumi-aif", "mimer", "nlaif", "pharos", "piast", "roaif", "slaif",
]  # fmt: skip
PLANNED = ["litai", "pharos", "roaif"]
WITHOUT_SIZES = {"1healthai", "gaia", "mimer", "piast"}  # the hardware of their nodes was not found anywhere
COUNTRIES = ["BE", "CH", "CY", "GB", "HU", "IE", "IS", "LV", "MD", "MK", "MT", "RS", "SK"]

entries = pytest.mark.parametrize("entry", list(ALL.entries.values()), ids=list(ALL.entries))
factories = pytest.mark.parametrize("factory", list(ALL.factories.values()), ids=list(ALL.factories))


def made(factory: Factory) -> Environment:
    """Return an environment as if somebody had installed it at the site."""
    return Environment(
        id="made", title="Made", kind="venv", python="/made/bin/python", architecture=factory.architecture
    )


def link(**accesses: Access) -> LinkConfig:
    here = Path("/none")
    hub = Hub(token_file=here / "token")
    named = {name.replace("_", "-"): access for name, access in accesses.items()}
    return LinkConfig(catalogue=here, state_dir=here, socket=here / "s", hub=hub, factories=named)


def test_all_nineteen_are_there() -> None:
    assert list(ALL.entries) == IDS
    assert list(ALL.planned) == PLANNED
    assert {entry.kind for entry in ALL.entries.values()} == {"ai-factory"}
    assert len({entry.site.country for entry in ALL.entries.values()}) == 16  # member states
    assert {entry.site.country for entry in ALL.entries.values() if entry.selected and entry.selected.year == 2025
            and entry.selected.month == 10} == {"CZ", "LT", "NL", "RO", "ES", "PL"}  # fmt: skip


@entries
def test_each_value_says_how_sure_it_is_and_where_it_comes_from(entry: NetworkEntry) -> None:
    assert entry.unsourced() == ()
    assert list(entry.values())
    for path in entry.values():
        origin = entry.origin(path)
        assert origin is not None
        assert origin.sure != "operator" or origin.sources
    assert {name for said in entry.said for name in said.by} == set(entry.sources), "a source that nothing comes from"


@entries
def test_each_origin_belongs_to_a_value(entry: NetworkEntry) -> None:
    """A mistyped path of an origin fits no value; the value itself may still have an origin, by a wider path."""
    values = [path.split(".") for path in entry.values()]
    for said in entry.said:
        for of in said.of:
            steps = of.split(".")
            fits = [all(a in ("*", b) for a, b in zip(steps, value, strict=False)) and len(value) >= len(steps)
                    for value in values]  # fmt: skip
            assert any(fits), of


@factories
def test_nothing_is_live_and_none_may_be_offered(factory: Factory) -> None:
    assert factory.state == "template"
    assert factory.agreement is None
    access = Access(account_pool=("fg1",), job_account="a", job_qos="q")
    with pytest.raises(CatalogueError, match=f"factories.{factory.id}: its catalogue entry is a 'template'"):
        loading.offered(link(**{factory.id: access}), ALL.factories)


@factories
def test_an_agreement_switches_a_factory_on_and_the_rules_it_names(factory: Factory) -> None:
    acts = factory.policy.open_questions()
    agreed: dict[str, Any] = {"who": "The operator", "when": "2026-01-31", "contact": "help@site.example"}
    access = Access(account_pool=("fg1",), job_account="a", job_qos="q", submits_per_minute=1)
    without = factory.model_copy(update={"state": "live"})
    live = Factory.model_validate({**factory.model_dump(), "state": "live", "agreement": {**agreed, "allows": acts}})
    silent = Factory.model_validate({**factory.model_dump(), "state": "live", "agreement": agreed})
    config = link(**{factory.id: access.model_copy(update={"environments": (made(factory),)})})
    with pytest.raises(CatalogueError, match="'live' without an 'agreement'"):
        loading.offered(config, {factory.id: without})
    for act in acts:
        with pytest.raises(CatalogueError, match=f"policy.{act} is "):
            loading.offered(config, {factory.id: silent})
    if factory.sizes:
        environments = {"environments": (made(factory),), "default_environment": None}
        assert loading.offered(config, {factory.id: live}) == {factory.id: live.model_copy(update=environments)}
    else:
        with pytest.raises(CatalogueError, match=r"no node size of it is known well enough \(gpu-1 lacks cores"):
            loading.offered(config, {factory.id: live})


@factories
def test_sizes_fit_their_nodes_and_become_jobs(factory: Factory) -> None:
    assert (not factory.sizes) == (factory.id in WITHOUT_SIZES)
    assert factory.sizes or factory.sketches
    for size in factory.sizes:
        partition = factory.partition(size.partition)
        shape, gpus = factory.shape(partition), factory.gpu(partition).per_node
        assert shape is not None
        assert (size.cores, size.memory_gb, size.gpus) <= (shape.cores, shape.memory_gb, gpus)
        if size.gpus and not size.whole_node and gpus % size.gpus == 0:
            together = gpus // size.gpus
            assert size.cores * together <= shape.cores
            # Sites that bill memory by shares offer slightly more than the node has, so one share less fits.
            assert size.memory_gb * (together - 1) <= shape.memory_gb
        access = Access(account_pool=("fg1",), job_account="project", environments=(made(factory),))
        here = loading.apply(factory, access)
        choice = resolve(here, Choice(size=size.id, hours=size.max_hours))
        job = job_request(
            here,
            access,
            choice,
            JobOptions(),
            name="n",
            comment="c",
            folder="/f",
            argv=("-m", "factorygate.session"),
        )
        assert (job.partition, job.qos, job.cores, job.gpus) == (size.partition, size.qos, size.cores, size.gpus)
        assert job.constraint == factory.constraint
        assert job.asks_memory == (factory.id != "bsc-aif")


@factories
def test_environments_are_for_the_nodes_architecture(factory: Factory) -> None:
    assert {environment.architecture for environment in factory.environments} == {factory.architecture}


@factories
def test_environments_are_templates_that_name_nothing_of_ours(factory: Factory) -> None:
    assert factory.environments
    for environment in factory.environments:
        assert environment.state == "template"
        assert environment.python is None
        assert "factorygate" not in environment.model_dump_json()
        assert environment.modules or environment.setup or environment.image or environment.remark


def test_a_template_is_offered_to_nobody_until_somebody_made_it() -> None:
    factory = ALL.factories["it4lia"]
    access = Access(account_pool=("fg1",), testbed=True)
    with pytest.raises(
        CatalogueError, match=r"factories\.it4lia\.environments: is missing; .* \(pytorch, basic\) are temp"
    ):
        loading.offered(link(it4lia=access), {"it4lia": factory})
    pytorch, basic = factory.environments
    done = pytorch.model_copy(update={"state": "live", "python": "/leonardo/venv/bin/python"})
    one_made = factory.model_copy(update={"environments": (done, basic)})
    found = loading.offered(link(it4lia=access), {"it4lia": one_made})["it4lia"]
    assert found.environments == (done,)
    assert resolve(found, Choice()).environment == "pytorch"
    with pytest.raises(loading.ChoiceError, match="Unknown environment 'basic'"):
        resolve(found, Choice(environment="basic"))


def test_a_template_becomes_no_job() -> None:
    factory = ALL.factories["it4lia"]
    with pytest.raises(ValueError, match="the environment basic is a template"):
        bridge_argv(factory, resolve(factory, Choice()))


def test_remarks_for_editors_reach_no_page() -> None:
    """No page and no API shows an entry's notes and remarks; and no note is a remark, which is for editors only."""
    told = {name for view in (FactoryView, NetworkView, ComingView) for name in view.model_fields}
    assert "hints" in told
    assert not {"notes", "remarks"} & told
    for entry in ALL.entries.values():
        assert not set(entry.notes) & set(entry.remarks)
        for note in entry.notes:
            assert not re.search("not found|ask the site|to be confirmed|user report", note), note


@factories
def test_the_testbed_lays_out_what_is_known_and_says_what_is_not(factory: Factory) -> None:
    if factory.scheduler == "slurm" and factory.id not in WITHOUT_SIZES:
        sets = layout.node_sets(factory)
        known = {partition.name for nodes in sets for partition in nodes.partitions}
        assert {size.partition for size in factory.sizes} <= known
    else:
        other = f"its scheduler is {factory.scheduler}"
        why = "the catalogue (does not )?know" if factory.scheduler == "slurm" else other
        with pytest.raises(CannotLayOut, match=f"{factory.id}: {why}"):
            layout.node_sets(factory)


def test_planned_factories_have_no_machine() -> None:
    with pytest.raises(ValidationError, match="state: a planned factory has no machine"):
        Factory.model_validate({**ALL.factories["jaif"].model_dump(), "state": "planned"})
    for entry in ALL.planned.values():
        assert not hasattr(entry, "sizes")
        assert entry.not_found
    with pytest.raises(CatalogueError, match=r"factories\.pharos: not in"):
        loading.offered(link(pharos=Access(account_pool=("fg1",), testbed=True)), ALL.factories)


def test_a_planned_entry_takes_no_machine(tmp_path: Path) -> None:
    text = (FOLDER / "pharos.yaml").read_text()
    (tmp_path / "pharos.yaml").write_text(text.replace("notes:", "scheduler: slurm\nnotes:"))
    with pytest.raises(CatalogueError, match="scheduler: unknown key; allowed: coming, id, kind, name"):
        federation.load(tmp_path)


def test_refusals_and_planned_factories_are_explained() -> None:
    assert ALL.refusal("pharos") == "Pharos has no machine yet, so nothing can be started there."
    assert ALL.refusal("mimer") == (
        "This gateway does not offer MIMER yet: its operator has no agreement with this gateway's."
    )
    assert ALL.refusal("nowhere") is None
    assert [view.id for view in ALL.coming()] == PLANNED


def test_there_is_room_for_a_gigafactory() -> None:
    data = ALL.planned["litai"].model_dump()
    giga = Planned.model_validate({**data, "kind": "ai-gigafactory", "scale": 100_000})
    assert giga.scale == 100_000


# --- antennas -------------------------------------------------------------------------------------------------------


def test_thirteen_antennas_lead_to_factories() -> None:
    antennas = ALL.antennas
    assert antennas is not None
    assert sorted(antenna.country for antenna in antennas.antennas) == COUNTRIES
    assert antennas.unsourced() == ()
    for antenna in antennas.antennas:
        assert set(antenna.factories) <= set(ALL.entries)
        assert set(antenna.greeting) <= set(antenna.languages)
        assert antenna.login.provider


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("factories: [lumi-aif, jaif]", "factories: [lumi-aif, jaiff]", "antennas.be-aifa.factories: 'jaiff' is none"),
        ("languages: [nl, fr, de]", "languages: [nl, fr]", "antennas.be-aifa.greeting: 'de' is none of its languages"),
        ("country: BE", "country: Belgium", "antennas.be-aifa.country: 'Belgium' is not a country code"),
        ("id: pharos-cy", "id: be-aifa", "antennas: an id is used twice"),
        ("{provider: myaccessid}", "{provider: My IdP}", "login.provider: 'My IdP' is not small letters"),
    ],
)
def test_a_wrong_antenna_is_named(tmp_path: Path, old: str, new: str, expected: str) -> None:
    text = ANTENNAS.read_text()
    assert old in text
    (tmp_path / "antennas.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(CatalogueError) as caught:
        federation.load(FOLDER, tmp_path / "antennas.yaml")
    assert [line for line in caught.value.problems if expected in line], caught.value.problems


# --- the commands ---------------------------------------------------------------------------------------------------


def test_check_finds_nothing_in_what_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["catalogue", "check", str(FOLDER)]) == 0
    assert ", ".join(IDS) in capsys.readouterr().out


def test_a_site_that_answers_nothing_is_not_said_to_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["catalogue", "diff", "it4lia", "--catalogue", str(FOLDER), "--answers", str(tmp_path)]
    assert cli.main(words) == 1
    said = capsys.readouterr().out
    assert said.count("Not compared: ") == len(QUESTIONS)
    assert "no difference" not in said


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("czai", "by: [einfra], of: [coming]", "by: [einfra], of: [name]", "coming.status: 'said' does not tell"),
        ("czai", "by: [einfra]", "by: [elsewhere]", "said: 'elsewhere' is none of the sources"),
        ("czai", "sure: operator, by: [einfra]", "sure: operator", "by: what an operator says has an address"),
        ("czai", "sure: operator, by: [einfra]", "sure: certain", "'certain': input should be 'operator', 'user-rep"),
        ("czai", "https://docs.it4i.cz/general/shell", "docs.it4i.cz/shell", "is not an address that begins with"),
        ("czai", "name: qgpu_exp, max_hours: 1}", "name: qgpu_exp}", "neither its partition nor its QOS has a limit"),
        ("czai", "name: qgpu_exp,", "name: qgpu,", "partitions: a name is used twice"),
        ("czai", "node: {cores: 128, memory_gb: 1024, count: 72}\n", "", "what a node has is not known; put it in"),
        ("jaif", "    whole_node: true\n", "", "partition booster gives whole nodes only; allowed: true"),
        ("mimer", "{id: gpu-4, gpus: 4, p", "{id: gpu-4, gpus: 4, cores: 9, memory_gb: 9, max_hours: 9, p",
         "sketches.gpu-4: nothing is missing; it belongs in sizes"),
        ("mimer", "gpus: 4, partition: gpu}", "gpus: 4, partition: cpu}", "sketches.gpu-4.partition: 'cpu' is none of"),
    ],
)  # fmt: skip
def test_check_names_each_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, old: str, new: str, expected: str
) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    assert old in text
    (tmp_path / f"{name}.yaml").write_text(text.replace(old, new, 1))
    assert cli.main(["catalogue", "check", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith(f"{tmp_path}/{name}.yaml") and expected in line], lines


@pytest.mark.parametrize("of", ["factory", "antennas"])
def test_the_schema_for_editors_is_current(of: str) -> None:
    path = CHECKOUT / "hub_config" / f"{of}.schema.json"
    assert path.read_text() == cli_catalogue.schema(of), f"factorygate catalogue schema {of} > {path}"
    assert json.loads(path.read_text())["$schema"]
    for entry in FOLDER.glob("*.yaml") if of == "factory" else [ANTENNAS]:
        first = entry.read_text().splitlines()[0]
        assert first.startswith("# yaml-language-server: $schema=")
        assert (entry.parent / first.partition("=")[2]).resolve() == path


def test_editors_find_the_files_right_and_mistakes_wrong() -> None:
    schema = json.loads(cli_catalogue.schema("factory"))
    for path in FOLDER.glob("*.yaml"):
        jsonschema.validate(_read(path), schema)
    jsonschema.validate(_read(ANTENNAS), json.loads(cli_catalogue.schema("antennas")))
    for wrong in ({"state": "alive"}, {"schedular": "slurm"}, {"outbound": "maybe"}, {"sizes": [{"id": "gpu-1"}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**_read(FOLDER / "czai.yaml"), **wrong}, schema)


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a file as an editor sees it: a date is a string."""
    data: dict[str, Any] = json.loads(json.dumps(yaml.safe_load(path.read_text()), default=str))
    return data


def test_the_table_in_the_docs_is_current() -> None:
    text = (CHECKOUT / "docs" / "factories.md").read_text()
    assert text.startswith(listing.table(ALL)), "factorygate catalogue table; what follows it is of tests/catalogue"


@entries
def test_show_says_each_value_with_its_origin(entry: NetworkEntry, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["catalogue", "show", entry.id, "--catalogue", str(FOLDER)]) == 0
    said = capsys.readouterr().out
    for path in entry.values():
        assert f"\n{path} " in said
    assert "not said" not in said
    assert all(what in said for what in entry.not_found)


@factories
def test_the_letter_asks_for_all_that_is_open(factory: Factory, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["onboarding", factory.id, "--catalogue", str(FOLDER)]) == 0
    said = capsys.readouterr().out
    joined = " ".join(said.split())
    for word in (factory.site.machine, *factory.site.login_hosts, "agreement", *(size.id for size in factory.sizes)):
        assert word in said
    for act in ("unattended_submit", "persistent_connection", "replacement"):
        assert act in said
    for what in factory.not_found:
        assert what[1:] in joined
    assert max(map(len, said.splitlines())) <= 110


def test_there_is_no_letter_to_a_factory_without_a_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["onboarding", "pharos", "--catalogue", str(FOLDER)]) == 1
    assert cli.main(["onboarding", "nowhere", "--catalogue", str(FOLDER)]) == 1
    assert "there are: 1healthai" in capsys.readouterr().err


def test_a_derived_value_says_so() -> None:
    origin = ALL.factories["czai"].origin("sizes.gpu-2.cores")
    assert origin is not None
    assert str(origin) == "operator, derived, https://docs.it4i.cz/general/resources-allocation-policy/"
    billed = ALL.factories["czai"].origin("sizes.gpu-2.billed_as")
    assert billed is not None
    assert not billed.derived


# --- the site's own answers -----------------------------------------------------------------------------------------

PARTITIONS = "PartitionName=qgpu MaxTime=2-00:00:00 DefaultTime=1-00:00:00 MaxNodes=UNLIMITED OverSubscribe=NO\n"
NODES = "acn01|qgpu|128|1031000|gpu:a100:8(S:0-7)|(null)\n"


def test_diff_reads_what_a_site_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "partitions.txt").write_text(PARTITIONS)
    (tmp_path / "nodes.txt").write_text(NODES)
    told = ["catalogue", "diff", "czai", "--catalogue", str(FOLDER), "--answers", str(tmp_path)]
    assert cli.main(told) == 1
    said = capsys.readouterr().out
    assert "Not compared: qos (" in said
    assert "partitions.qgpu_exp: the site has no such partition; it has: qgpu" in said
    assert "partitions.qgpu." not in said
    assert "sizes.gpu-8" not in said
    (tmp_path / "nodes.txt").write_text(NODES.replace("|128|", "|96|"))
    assert cli.main(told) == 1
    assert "partitions.qgpu: cores of a node: the entry says 128, the site 96" in capsys.readouterr().out
    (tmp_path / "nodes.txt").write_text("what?\n")
    assert cli.main(told) == 1
    assert "czai: 'what?' is not what 'sinfo" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["hammerhai", "pharos"])
def test_there_is_no_diff_without_a_slurm(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["catalogue", "diff", name, "--catalogue", str(FOLDER)]) == 1
    assert "there is no Slurm to compare it with" in capsys.readouterr().err
