"""`flexgate settings`: what holds for all routes and upstreams unless they say otherwise."""

from __future__ import annotations

from controlplane.cli.api import Api
from controlplane.cli.family import family
from controlplane.cli.manner import How, write
from controlplane.cli.resources import Fields, File, IfMatch, body_of
from controlplane.cli.screen import Screen
from controlplane.cli.talking import talking, writing
from shared.yaml_dump import dump

app = family("Show and change the settings that hold for all routes and upstreams.")
PATH = "/api/settings"


@app.command()
@talking
def get(api: Api, screen: Screen) -> None:
    """Show the settings, and their etag."""
    answer = api.send("GET", PATH)
    etag = answer.headers.get("etag", "").strip('"')
    screen.show(answer.body, lambda: [dump(answer.body).rstrip(), f"# etag {etag}"])


@app.command("set")
@writing
def change(
    api: Api, screen: Screen, how: How, fields: Fields = None, file: File = None, if_match: IfMatch = ""
) -> None:
    """Change the settings that are given; a file replaces all of them."""
    method, body = "PATCH" if file is None else "PUT", body_of(fields, file)
    write(api, screen, how, method, PATH, body, told=lambda _: ["the settings are as you said"], if_match=if_match)
