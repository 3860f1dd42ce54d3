"""Prints the ssh host key that cloud-init wrote to an EC2 instance's console: REGION INSTANCE."""

import os
import re
import sys
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

BETWEEN = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/=]+")


def console(client: Any, instance: str) -> str:
    """What there is now; of a type that cannot tell that, what AWS last kept."""
    try:
        return client.get_console_output(InstanceId=instance, Latest=True).get("Output", "")
    except ClientError as error:
        if error.response["Error"]["Code"] != "UnsupportedOperation":
            raise
        return client.get_console_output(InstanceId=instance).get("Output", "")


def main(region: str, instance: str) -> int:
    # The variables that the collection amazon.aws knows, too.
    client = boto3.client("ec2", region_name=region, endpoint_url=os.environ.get("AWS_URL"))
    try:
        text = console(client, instance)
    except (BotoCoreError, ClientError) as error:
        print(error, file=sys.stderr)
        return 1
    told = BETWEEN.findall(text)
    key = KEY.search(told[-1]) if told else None
    if key is None:
        print("its console does not tell its host key", file=sys.stderr)
        return 1
    print(key[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
