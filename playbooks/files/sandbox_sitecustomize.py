# What each start of Python imports here costs time: hence no pathlib.
# ruff: noqa: PTH104, PTH123, S302, SLF001 - nobody but root writes there, and zipimport has no public way
# pyright: reportAttributeAccessIssue=false
"""Keeps what Python compiles of a zip, by a hash of the source, and takes it from there the next time.

The sitecustomize of sandbox hosts. Ansible's modules arrive as source in a zip and are compiled by every task, which is
a third of what a task costs on a host, and on an emulated CPU most of it. What is not in a zip is not touched.
"""

import _imp
import marshal
import os
import zipimport

KEPT = "/var/cache/sandbox"
from_zip = zipimport._compile_source


def once(path: str, source: bytes) -> object:
    kept = f"{KEPT}/{_imp.source_hash(0, source).hex()}"
    try:
        with open(kept, "rb") as file:
            return marshal.load(file)
    except OSError:
        code = from_zip(path, source)
    try:
        with open(f"{kept}.{os.getpid()}", "wb") as file:
            marshal.dump(code, file)
        os.rename(f"{kept}.{os.getpid()}", kept)
    except OSError:  # not root
        pass
    return code


zipimport._compile_source = once
