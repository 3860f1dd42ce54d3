"""sar records, sadf reads."""

import json


def test_a_record_can_be_read_back(host):
    host.check_output("sar -o /tmp/molecule.sar -u ALL -P ALL 1 1")
    record = json.loads(host.check_output("sadf -j /tmp/molecule.sar -- -P ALL"))
    sample = record["sysstat"]["hosts"][0]["statistics"][0]["cpu-load"]
    assert {entry["cpu"] for entry in sample} == {"all", *(str(cpu) for cpu in range(len(sample) - 1))}
    assert all(0 <= entry["idle"] <= 100 for entry in sample)
    host.check_output("rm /tmp/molecule.sar")
