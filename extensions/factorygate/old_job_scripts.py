"""Lists older names of the variables FACTORYGATE_JOB_*, for jobs whose script does not set these variables yet.

Such a job may have waited in the queue, or been requeued, while a newer factorygate was installed at the factory.
Nothing is ever added to this table: the scripts of a new dialect export FACTORYGATE_JOB_* from the beginning.
"""

from __future__ import annotations

OLD_NAMES = {
    "FACTORYGATE_JOB_ID": ("SLURM_JOB_ID", "PBS_JOBID"),
    "FACTORYGATE_JOB_END": ("SLURM_JOB_END_TIME",),
    "FACTORYGATE_JOB_NODE": ("SLURMD_NODENAME",),
    "FACTORYGATE_JOB_MEMORY_MB": ("SLURM_MEM_PER_NODE",),
    "FACTORYGATE_JOB_INDEX": ("SLURM_ARRAY_TASK_ID", "PBS_ARRAY_INDEX"),
    "FACTORYGATE_JOB_RESTARTS": ("SLURM_RESTART_COUNT",),
}
