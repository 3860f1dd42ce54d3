# What each start of Python imports here costs time: hence no annotations and no pathlib.
# ruff: noqa: ANN001, ANN003, ANN201, PTH104, PTH123, S302, SLF001
# pyright: reportAttributeAccessIssue=false
"""Keeps what Python compiles, by a hash of the source, and takes it from there the next time.

The sitecustomize of a virtual machine. Ansible's modules arrive as source in a zip and are compiled by every task, and
pip compiles what it installs: most of the time of both where CPUs are emulated. The image was built with this too, so
that what is in its wheels was compiled then.
"""

import _imp
import marshal
import os
import zipimport
from importlib import _bootstrap_external as importing

KEPT = "/var/cache/ironbench/compiled"


def once(source, compiled):
    if not isinstance(source, bytes):
        return compiled()
    path = f"{KEPT}/{_imp.source_hash(0, source).hex()}"
    try:
        with open(path, "rb") as file:
            return marshal.load(file)
    except OSError:
        code = compiled()
    try:
        with open(f"{path}.{os.getpid()}", "wb") as file:
            marshal.dump(code, file)
        os.rename(f"{path}.{os.getpid()}", path)
    except OSError:  # not root
        pass
    return code


from_zip = zipimport._compile_source
from_file = importing.SourceLoader.source_to_code


def source_to_code(self, data, path, **options):
    return once(data, lambda: from_file(self, data, path, **options))


zipimport._compile_source = lambda path, source: once(source, lambda: from_zip(path, source))
importing.SourceLoader.source_to_code = source_to_code
