"""Slices of GPUs: how a size in the catalogue names one, what is billed for it, and exact sums of such charges."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest
from sqlalchemy import func, insert, select

from factorycommon.gpu_shares import GpuSlice, parse_share, parse_slice, plain
from factorycommon.models import Accelerator, Factory, NodeShape, NodeSize, NodeState, Partition
from factorylink.catalogue.choices import gpu_label, smallest_size
from factorylink.catalogue.prices import billed_gpus, gpus_of, price
from factorylink.ledger import charges as budget
from factorylink.ledger.charges import Charges, OverBudget
from factorylink.ledger.ledger import Ledger
from factorylink.ledger.schema import charges
from factorylink.projects.usage_report import as_csv, table
from factorylink.schedulers.slurm.script import script
from factorylink.site.availability import fits
from factorylink.util import clock
from tests.unit.fake_factory import SIZE, factory
from tests.unit.test_budget import HOUR, NOW, claim, ended, project
from tests.unit.test_slurm import request
from tests.unit.test_slurm_nodes import node

SEVENTH = NodeSize(
    id="mig-1", gpus=1, cores=2, memory_gb=4, partition="gpu", max_hours=8, gres="gpu:1g.10gb:1", billed_gpus="1/7"
)
QUARTER = SEVENTH.model_copy(update={"id": "shard-4", "gres": "shard:4", "billed_gpus": Fraction(1, 4)})


def sliced(**values: object) -> Factory:
    one = factory()
    fields = {
        "sizes": (SIZE, SEVENTH, QUARTER),
        "partitions": (Partition(name="gpu", max_hours=24, shape=NodeShape(cores=8, memory_gb=64)),),
        "accelerator": Accelerator(vendor="NVIDIA", model="H100", memory_gb=80, per_node=4),
        **values,
    }
    return Factory.model_validate({**{name: getattr(one, name) for name in type(one).model_fields}, **fields})


@pytest.mark.parametrize(
    ("text", "share"),
    [("1/7", Fraction(1, 7)), ("0.25", Fraction(1, 4)), (0.1, Fraction(1, 10)), (2, Fraction(2)),
     ("3/9", Fraction(1, 3))],
)  # fmt: skip
def test_a_share_is_read_exactly(text: object, share: Fraction) -> None:
    assert parse_share(text) == share
    assert parse_share(str(share)) == share


@pytest.mark.parametrize(
    "text", ["0", "1/0", "-1/7", "1/1001", "0.0001", "1e-1", "nan", "1 / 7", "", True, None, "٣/7"]
)
def test_what_is_no_share_is_refused_with_what_is_allowed(text: object) -> None:
    with pytest.raises(ValueError, match="a fraction such as 1/7"):
        parse_share(text)


@pytest.mark.parametrize(
    ("gres", "part"),
    [
        ("gpu:1g.10gb:1", GpuSlice("mig", "1g.10gb", "1g.10gb", 10, 1)),
        ("gpu:a100_3g.20gb:2", GpuSlice("mig", "a100_3g.20gb", "3g.20gb", 20, 2)),
        ("gpu:1g.10gb+me:1", GpuSlice("mig", "1g.10gb+me", "1g.10gb+me", 10, 1)),
        ("gpu:1c.3g.40gb:1", GpuSlice("mig", "1c.3g.40gb", "1c.3g.40gb", 40, 1)),
        ("shard:4", GpuSlice("shard", "", "", 0, 4)),
        ("gpu:a100:1", None), ("gpu:1", None), ("shard:0", None), ("gpu:1g.10gb:1,shard:1", None),
    ],
)  # fmt: skip
def test_a_gres_text_is_read_as_a_slice(gres: str, part: GpuSlice | None) -> None:
    assert parse_slice(gres) == part


def test_a_size_of_whole_gpus_stays_as_it_was() -> None:
    one = sliced()
    assert (billed_gpus(one, SIZE), SIZE.gpu_slice, SIZE.gpu_text) == (1, None, "1 GPU")
    assert price(one, SIZE).charged_for == "gpus"
    # an entry of an earlier release may name a slice, and bills whole GPUs
    old = SIZE.model_copy(update={"gres": "gpu:1g.10gb:1"})
    assert (billed_gpus(one, old), old.gpu_slice) == (1, None)


def test_a_slice_is_billed_and_described_as_a_part_of_a_gpu() -> None:
    one = sliced()
    assert gpus_of(one, "mig-1") == Fraction(1, 7)
    assert smallest_size(one).id == "mig-1"
    cost = price(one, SEVENTH)
    assert (cost.charged_for, cost.gpu_hours, cost.counted) == ("part", 1 / 7, 1 / 7)
    assert gpu_label(one, SEVENTH) == "one seventh of one H100, 10 GB of GPU memory"
    assert gpu_label(one, QUARTER) == "one quarter of one H100, shared with other jobs"
    assert SEVENTH.gpu_text == "1/7 GPU (gpu:1g.10gb:1)"
    assert SEVENTH.model_dump(mode="json")["billed_gpus"] == "1/7"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"scheduler": "pbs"}, "billed_gpus: slices of GPUs are Slurm's"),
        ({"accelerator": Accelerator(vendor="AMD", model="MI300X", per_node=4)}, "only GPUs of NVIDIA have MIG"),
        ({"sizes": (SEVENTH.model_copy(update={"whole_node": True}),)}, "a whole node bills all its GPUs"),
    ],
)
def test_a_slice_that_cannot_be_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        sliced(**values)


async def test_sums_of_many_slices_are_exact(ledger: Ledger) -> None:
    """70 jobs of one hour on a seventh of a GPU fill a budget of ten GPU-hours; not one second more fits."""
    whole = project(gpu_hours=10)
    jobs = [claim(f"s{number}", gpus=Fraction(1, 7)) for number in range(70)]
    for job in jobs:
        await ledger.write(budget.reserve([job], whole))
    balance = await Charges(ledger).balance("p1")
    assert (balance.spent, balance.reserved) == (0, 10)
    with pytest.raises(OverBudget) as refused:
        await ledger.write(budget.reserve([claim("more", hours=1 / 60, gpus=Fraction(1, 1000))], whole))
    assert refused.value.fits == 0
    for number, job in enumerate(jobs):
        started = NOW - timedelta(seconds=601)
        await ledger.write(budget.runs(job.id, started, NOW))
        await ledger.write(budget.settle(job.id, ended(601), 0, started, NOW))
        assert (await Charges(ledger).balance("p1")).reserved == float(Fraction(69 - number, 7))
    assert (await Charges(ledger).balance("p1")).spent == 6010 / HOUR
    assert {key: one.spent for key, one in (await Charges(ledger).balances()).items()} == {("p1", "one"): 6010 / HOUR}
    (line,) = await Charges(ledger).usage("p1")
    assert (line.gpu_seconds, line.jobs) == (6010, 70)
    assert (await Charges(ledger).used(["s0"]))["s0"] == (Fraction(1, 7), 601)


async def test_shares_with_different_parts_are_summed_exactly(ledger: Ledger) -> None:
    shares = [Fraction(1, 7), Fraction(1, 4), Fraction(2), Fraction(143, 1000)]
    whole = project(gpu_hours=plain(sum(shares, Fraction(0))) + 1 / HOUR)
    for number, share in enumerate(shares):
        await ledger.write(budget.reserve([claim(f"s{number}", gpus=share)], whole))
    with pytest.raises(OverBudget) as refused:
        await ledger.write(budget.reserve([claim("more", hours=1, gpus=Fraction(1, 7))], whole))
    assert refused.value.fits == 0


async def test_an_unfinished_second_of_a_slice_is_shown_as_a_number_with_a_point(ledger: Ledger) -> None:
    await ledger.write(budget.reserve([claim(gpus=Fraction(1, 7))], project()))
    started = NOW - timedelta(seconds=10)
    await ledger.write(budget.settle("s1", ended(10), 0, started, NOW))
    lines = await Charges(ledger).usage("p1")
    assert lines[0].gpu_seconds == 10 / 7
    assert "1,1.428571,0.000397" in as_csv(lines)
    assert table(lines, "person")[-1] == ("all", 1, "0.00")


async def test_a_charge_of_an_earlier_release_counts_whole_gpus(ledger: Ledger) -> None:
    values = {"id": "old", "project": "p1", "factory": "one", "person": "ada", "account": "a", "gpus": 4,
              "reserved": HOUR, "reserved_at": clock.now(), "earlier": 0}  # fmt: skip
    await ledger.transact(lambda db: db.execute(insert(charges).values(values)).rowcount)
    assert (await Charges(ledger).balance("p1")).reserved == 4
    assert await ledger.transact(lambda db: db.execute(select(func.max(charges.c.gpu_parts))).scalar_one()) == 1


def test_the_script_requests_the_slice_and_says_so_to_the_job() -> None:
    text = script(request(gres="gpu:1g.10gb:1", gpu_slice="gpu:1g.10gb:1"))
    assert "#SBATCH --gres=gpu:1g.10gb:1\n" in text
    assert 'FACTORYGATE_JOB_SLICE="gpu:1g.10gb:1" FACTORYGATE_JOB_SHARDS="${SLURM_SHARDS_ON_NODE:-}"' in text
    assert "SLICE" not in script(request(gres="gpu:1g.10gb:1"))


def nodes(gres: str, gres_used: str) -> list[NodeState]:
    return [node(cpus="0/8/0/8", memory="64000", used="0", gres=gres, gres_used=gres_used)]


def test_free_slices_are_counted_by_their_type() -> None:
    one = sliced()
    mixed = nodes("gpu:h100:2,gpu:1g.10gb:3", "gpu:h100:0(IDX:N/A),gpu:1g.10gb:1(IDX:2)")
    assert (mixed[0].gpus, mixed[0].gpus_free, mixed[0].gpu_type) == (2, 2, "h100")
    assert (fits(one, mixed, SEVENTH), fits(one, mixed, QUARTER), fits(one, mixed, SIZE)) == (2, 0, 2)
    shared = nodes("gpu:h100:2,shard:h100:8(S:0)", "gpu:h100:0(IDX:N/A),shard:h100:4(4/4,0/4)")
    assert (fits(one, shared, SEVENTH), fits(one, shared, QUARTER)) == (0, 1)
