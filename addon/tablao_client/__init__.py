# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python client for Tablao and other Flamenco 3 farms; Python 3.10 or newer, nothing else.

    from tablao_client import Client, job_request

    farm = Client("http://farm:8080/")
    job_type = farm.job_type("echo-sleep-test")
    job = farm.submit_job(job_request(job_type, "hello", {"message": "hello"}))
    print(farm.wait_for_job(job.id).status)

This module only lists the public names.
"""

from .client import CLIENT_VERSION, DEFAULT_URL, Client, job_request, this_platform
from .errors import (
    BadRequest,
    FarmFault,
    FarmUnreachable,
    JobTypeChanged,
    NotAFarm,
    NotAllowed,
    NotFound,
    PreviewOvertaken,
    Refused,
    TablaoError,
    WaitEnded,
)
from .models import (
    Job,
    JobType,
    Regeneration,
    Setting,
    SharedStorage,
    SomeTasks,
    Tag,
    Task,
    Version,
)

__all__ = [
    "BadRequest",
    "CLIENT_VERSION",
    "Client",
    "DEFAULT_URL",
    "FarmFault",
    "FarmUnreachable",
    "Job",
    "JobType",
    "JobTypeChanged",
    "NotAFarm",
    "NotAllowed",
    "NotFound",
    "PreviewOvertaken",
    "Refused",
    "Regeneration",
    "Setting",
    "SharedStorage",
    "SomeTasks",
    "Tag",
    "Task",
    "TablaoError",
    "Version",
    "WaitEnded",
    "job_request",
    "this_platform",
]
