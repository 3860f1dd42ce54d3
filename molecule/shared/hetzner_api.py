"""A stand-in of Hetzner Cloud's API: those calls that playbooks/cloud.yml makes, as https://docs.hetzner.cloud has them.

What the calls make lives in this process. With ``machines`` a server is a sandbox host, and one that deletes itself
asks this server to; without them it is an address at which nobody answers.
"""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from machines import Machines

TOKEN = "token-of-the-project"
CREATED = "2026-01-01T00:00:00+00:00"
LOCATION = {
    "id": 1,
    "name": "fsn1",
    "description": "Falkenstein DC Park 1",
    "country": "DE",
    "city": "Falkenstein",
    "latitude": 50.47612,
    "longitude": 12.370071,
    "network_zone": "eu-central",
}
SERVER_TYPE = {
    "id": 22,
    "name": "cpx31",
    "description": "CPX 31",
    "cores": 4,
    "memory": 8.0,
    "disk": 160,
    "prices": [],
    "storage_type": "local",
    "cpu_type": "shared",
    "category": "regular_purpose",
    "architecture": "x86",
    "deprecated": False,
    "deprecation": None,
    "locations": [],
}
IMAGE = {
    "id": 114690389,
    "type": "system",
    "status": "available",
    "name": "debian-13",
    "description": "Debian 13",
    "image_size": None,
    "disk_size": 5,
    "created": CREATED,
    "created_from": None,
    "bound_to": None,
    "os_flavor": "debian",
    "os_version": "13",
    "rapid_deploy": True,
    "protection": {"delete": False},
    "deprecated": None,
    "deleted": None,
    "labels": {},
    "architecture": "x86",
}
ONES = {
    "ssh_keys": "ssh_key",
    "firewalls": "firewall",
    "networks": "network",
    "servers": "server",
    "placement_groups": "placement_group",
    "volumes": "volume",
    "primary_ips": "primary_ip",
    "locations": "location",
    "server_types": "server_type",
    "images": "image",
}
OFFERED = ("locations", "server_types", "images")
NO_TYPES = {"available": [], "supported": [], "available_for_migration": []}


class RefusedError(Exception):
    """An answer that is an error: status, code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


QUOTA = RefusedError(403, "resource_limit_exceeded", "server limit exceeded")
NO_CAPACITY = RefusedError(412, "resource_unavailable", "error during placement")


class Hetzner:
    """One project. ``refuse`` says with how many servers the next one is refused, and with what."""

    def __init__(self, machines: Machines | None = None, address: str = "127.0.0.1") -> None:
        """``address``: where this server is to be reached, by machines too."""
        self.things: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in ONES}
        self.things["locations"][1] = LOCATION
        self.things["server_types"][22] = SERVER_TYPE
        self.things["images"][IMAGE["id"]] = IMAGE
        self.refuse: dict[int, RefusedError] = {}
        self.user_data: list[str] = []
        self.deleted_by: list[str] = []
        """Addresses that asked for the deletion of a server."""
        self._machines, self._containers = machines, {}
        self._last, self._lock = 1000, Lock()
        project = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                try:
                    project.admit(self.headers.get("Authorization"))
                    status, told = project.call(self.command, self.path, body, self.client_address[0])
                except RefusedError as refused:
                    status = refused.status
                    told = {"error": {"code": refused.code, "message": refused.message, "details": None}}
                text = json.dumps(told).encode() if told is not None else b""
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the names that the base class looks for

        self._server = ThreadingHTTPServer((address, 0), Handler)
        Thread(target=self._server.serve_forever, daemon=True).start()

    def environment(self) -> dict[str, str]:
        """What makes the collection call this server."""
        address, port = self._server.server_address[:2]
        return {"HCLOUD_ENDPOINT": f"http://{address}:{port}/v1", "HCLOUD_TOKEN": TOKEN}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def left(self) -> list[str]:
        """All that somebody could be charged for, or find in the project."""
        return [
            f"{ONES[kind]} {thing.get('name') or thing['id']}"
            for kind, things in self.things.items()
            if kind not in OFFERED
            for thing in things.values()
        ]

    def admit(self, authorization: str | None) -> None:
        if authorization != f"Bearer {TOKEN}":
            raise RefusedError(401, "unauthorized", "unable to authenticate")

    # --- calls ---------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: dict, asker: str) -> tuple[int, dict | None]:
        parts = urlsplit(path)
        match = re.fullmatch(r"/v1/(\w+)(?:/([\w.-]+))?(?:/actions/(\w+))?", parts.path)
        if match is None:
            raise RefusedError(404, "not_found", f"no call {method} {path}")
        kind, number, action = match.groups()
        with self._lock:
            if kind == "actions":
                return 200, {"action": self._action(int(number))}
            if kind not in ONES:
                raise RefusedError(404, "not_found", f"no call {method} {path}")
            if method == "GET" and number is None:
                asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
                return 200, self._listed(kind, asked)
            if method == "POST" and number is None:
                return 201, getattr(self, f"_make_{ONES[kind]}")(body)
            thing = self._find(kind, number)
            if method == "GET":
                return 200, {ONES[kind]: thing}
            if method == "DELETE":
                return self._delete(kind, thing, asker)
            if (kind, action) == ("networks", "add_subnet"):
                thing["subnets"].append({**body, "gateway": "10.61.0.1", "vswitch_id": None})
                return 201, {"action": self._action(1)}
        raise RefusedError(404, "not_found", f"no call {method} {path}")

    def _find(self, kind: str, number: str) -> dict[str, Any]:
        thing = self.things[kind].get(int(number)) if number.isdigit() else None
        if thing is None:
            raise RefusedError(404, "not_found", f"{ONES[kind]} with ID '{number}' not found")
        return thing

    def _listed(self, kind: str, asked: dict[str, str]) -> dict[str, Any]:
        found = list(self.things[kind].values())
        if "name" in asked:
            found = [thing for thing in found if thing["name"] == asked["name"]]
        if "label_selector" in asked:
            label, _, value = asked["label_selector"].partition("=")
            found = [thing for thing in found if thing["labels"].get(label) == value]
        pages = {"page": 1, "per_page": 50, "previous_page": None, "next_page": None, "last_page": 1}
        return {kind: found, "meta": {"pagination": {**pages, "total_entries": len(found)}}}

    def _action(self, number: int) -> dict[str, Any]:
        times = {"started": CREATED, "finished": CREATED}
        return {
            "id": number,
            "command": "done",
            "status": "success",
            "progress": 100,
            "resources": [],
            "error": None,
            **times,
        }

    def _keep(self, kind: str, body: dict[str, Any], **more: Any) -> dict[str, Any]:
        if any(thing["name"] == body["name"] for thing in self.things[kind].values()):
            raise RefusedError(409, "uniqueness_error", f"{ONES[kind]} name is already used")
        self._last += 1
        thing = {
            "id": self._last,
            "name": body["name"],
            "labels": body.get("labels") or {},
            "created": CREATED,
            **more,
        }
        self.things[kind][self._last] = thing
        return thing

    def _make_ssh_key(self, body: dict) -> dict:
        return {"ssh_key": self._keep("ssh_keys", body, public_key=body["public_key"], fingerprint="00:11")}

    def _make_placement_group(self, body: dict) -> dict:
        return {
            "placement_group": self._keep("placement_groups", body, type=body["type"], servers=[]),
            "action": None,
        }

    def _make_firewall(self, body: dict) -> dict:
        rules = [{"destination_ips": [], "description": None, **rule} for rule in body.get("rules", [])]
        return {"firewall": self._keep("firewalls", body, rules=rules, applied_to=[]), "actions": []}

    def _make_network(self, body: dict) -> dict:
        more = {
            "subnets": [],
            "routes": [],
            "servers": [],
            "load_balancers": [],
            "protection": {"delete": False},
        }
        made = self._keep("networks", body, ip_range=body["ip_range"], expose_routes_to_vswitch=False, **more)
        return {"network": made}

    def _make_volume(self, body: dict) -> dict:
        more = {
            "size": 10,
            "location": LOCATION,
            "server": None,
            "linux_device": "/dev/x",
            "status": "available",
        }
        return {
            "volume": self._keep("volumes", body, **more, protection={"delete": False}),
            "next_actions": [],
        }

    def _make_server(self, body: dict) -> dict:
        refused = self.refuse.get(len(self.user_data))
        if refused is not None:
            raise refused
        self.user_data.append(body.get("user_data", ""))
        public, private = self._machines.addresses() if self._machines else ("127.0.0.2", "10.61.0.2")
        made = self._keep(
            "servers",
            body,
            status="running",
            server_type=self._named("server_types", body["server_type"]),
            image=self._named("images", body["image"]),
            datacenter={
                "id": 4,
                "name": "fsn1-dc14",
                "description": "",
                "location": LOCATION,
                "server_types": NO_TYPES,
            },
            location=LOCATION,
            public_net={
                "ipv4": {"id": 1, "ip": public, "blocked": False, "dns_ptr": ""},
                "ipv6": None,
                "floating_ips": [],
                "firewalls": [
                    {"id": one["firewall"], "status": "applied"} for one in body.get("firewalls", [])
                ],
            },
            private_net=[
                {"network": number, "ip": private, "alias_ips": [], "mac_address": "86:00:ff:2a:7d:e1"}
                for number in body.get("networks", [])
            ],
            placement_group=self.things["placement_groups"].get(body.get("placement_group", 0)),
            iso=None,
            rescue_enabled=False,
            locked=False,
            backup_window=None,
            volumes=[],
            outgoing_traffic=0,
            ingoing_traffic=0,
            included_traffic=0,
            load_balancers=[],
            primary_disk_size=160,
            protection={"delete": False, "rebuild": False},
        )
        for number in body.get("networks", []):
            self.things["networks"][number]["servers"].append(made["id"])
        if self._machines:
            (key,) = (self.things["ssh_keys"][int(number)]["public_key"] for number in body["ssh_keys"])
            self._containers[made["id"]] = self._machines.boot(made["name"], body["user_data"], key)
        return {"server": made, "action": self._action(1), "next_actions": [], "root_password": None}

    def _named(self, kind: str, what: str | int) -> dict[str, Any]:
        return next(
            thing
            for thing in self.things[kind].values()
            if what in (thing["name"], thing["id"], str(thing["id"]))
        )

    def _delete(self, kind: str, thing: dict[str, Any], asker: str) -> tuple[int, dict | None]:
        if thing.get("protection", {}).get("delete"):
            raise RefusedError(423, "protected", f"{ONES[kind]} deletion is protected")
        if kind == "firewalls" and any(
            {"id": thing["id"], "status": "applied"} in server["public_net"]["firewalls"]
            for server in self.things["servers"].values()
        ):
            raise RefusedError(422, "resource_in_use", f"firewall with ID '{thing['id']}' is still in use")
        del self.things[kind][thing["id"]]
        if kind != "servers":
            return 204, None
        self.deleted_by.append(asker)
        for network in self.things["networks"].values():
            network["servers"] = [number for number in network["servers"] if number != thing["id"]]
        if thing["id"] in self._containers and self._machines:
            # Answered first: it may be the machine itself that asks.
            Thread(target=self._machines.end, args=[self._containers.pop(thing["id"])]).start()
        return 200, {"action": self._action(1)}
