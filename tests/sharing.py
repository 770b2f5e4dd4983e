"""Decides which tests run in the same process: those of one file, and those that share a running demo."""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

# Files that share a demo, or the homes in which a wrapper writes, by the fixture that starts it. ``tests/conftest.py``
# checks that no file is missing here.
DEMOS = {
    "gateway": (
        "browser/test_again.py",
        "browser/test_first_session.py",
        "browser/test_lab.py",
        "browser/test_transfers.py",
        "browser/test_widgets.py",
        "faults/test_alerts.py",
        "faults/test_altered_jobs.py",
        "faults/test_class.py",
        "faults/test_come_back.py",
        "faults/test_kill.py",
        "faults/test_many_stops.py",
        "faults/test_node_name.py",
        "faults/test_refused.py",
        "faults/test_shipped_alerts.py",
        "faults/test_transfers.py",
        "security/test_attacks.py",
        "slurm/test_clients.py",
        "slurm/test_full_factory.py",
        "slurm/test_many_sessions.py",
        "slurm/test_requeue.py",
        "slurm/test_session_api.py",
        "slurm/test_walltime.py",
        "slurm/test_workshop_accounts.py",
        "slurm/test_workshop_seats.py",
        "slurm/test_workshop_wave.py",
        "timing/test_class_first_cell.py",
        "timing/test_gateway.py",
        "timing/test_stopwatch.py",
    ),
    "clusters": (
        "browser/test_home_clusters.py",
        "slurm/test_cluster_keywords.py",
        "slurm/test_dask.py",
        "slurm/test_dask_kept.py",
        "slurm/test_dask_lasting.py",
        "slurm/test_dask_sequences.py",
        "slurm/test_examples.py",
        "timing/test_dask.py",
    ),
    "suites": ("slurm/test_distributed_suite.py", "slurm/test_jobqueue_suite.py"),
    "oidc": ("browser/test_oidc.py",),
    "base_url": ("faults/test_base_url.py", "slurm/test_demo_workshop.py"),  # one demo after the other
    "backup": ("faults/test_backup_drill.py",),
    "upgrade": ("faults/test_upgrade.py",),
    "isolated": ("faults/test_matrix.py",),
    "two_isolated": ("browser/test_scale_out.py",),
    "outbound_none": ("browser/test_outbound.py",),
    "wrapper": (
        "security/test_wrapper.py",
        "security/test_wrapper_files.py",
        "security/test_wrapper_orders.py",
        "security/test_wrapper_pbs.py",
        "security/test_wrapper_ways_in.py",
    ),
    "pbs_gateway": ("pbs/test_sessions.py", "pbs/test_site.py"),
    "class_gateway": (
        "timing/test_class_clusters.py",
        "timing/test_class_faults.py",
        "timing/test_class_move.py",
        "timing/test_class_wave.py",
    ),
}

# Files with the same fixture that use a demo of their own, since one process would have too much to do, or since they
# need another login or another address.
FIXTURES = {"clusters": "gateway", "suites": "gateway", "oidc": "gateway", "base_url": "gateway", "backup": "gateway",
            "upgrade": "gateway"}  # fmt: skip


def fixture(group: str) -> str:
    """Return the name of the fixture that starts a group's demo; ``group``: the demo's name."""
    return FIXTURES.get(group, group)


def group(nodeid: str) -> str:
    """Return the name of the demo that a test shares; for all other tests, the path of the test's file."""
    file = nodeid.partition("::")[0]
    for demo, files in DEMOS.items():
        if any(PurePosixPath(file).match(f"tests/{name}") for name in files):
            return demo
    return file


class InGroups(LoadScopeScheduling):
    """Hands out groups of tests; those with a demo first, since they take longest."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
