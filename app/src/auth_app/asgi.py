"""The factory that the server calls: settings and variant come from the environment."""

import os

from fastapi import FastAPI

from auth_app import app
from auth_app.errors import AuthAppError
from auth_app.settings import load_settings, settings_path


def create_app() -> FastAPI:
    try:
        variant = os.environ.get("AUTH_APP_VARIANT", "")
        return app.create_app(load_settings(settings_path()), variant)
    except AuthAppError as error:
        raise SystemExit(f"auth-app: {error}") from None
