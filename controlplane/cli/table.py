"""Every command of `flexgate`: its module, and what the overview says of it. A module is imported when it is typed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """`module` is in this package and has an `app`, which is a family of commands or one command alone."""

    module: str
    says: str


COMMANDS = {
    "init": Entry("init", "Write a commented configuration to start from."),
    "start": Entry("start", "Run a control plane and a data plane until Ctrl-C."),
    "validate": Entry("validate", "Print every fault of a configuration file."),
    "diff": Entry("diff", "Show what applying a configuration file would change."),
    "apply": Entry("apply", "Make a file the whole configuration, in one revision."),
    "export": Entry("export", "Print the whole configuration as a file that `apply` takes."),
    "routes": Entry("routes", "List, show, create, change and delete routes."),
    "upstreams": Entry("upstreams", "List, show, create, change and delete upstreams."),
    "consumers": Entry("consumers", "List, show, create, change and delete consumers."),
    "keys": Entry("keys", "List, show, create, rotate and revoke keys of consumers."),
    "settings": Entry("settings", "Show and change what holds for all routes and upstreams."),
    "revisions": Entry("revisions", "List, show and compare revisions."),
    "rollback": Entry("rollback", "Make the configuration what it was at a revision."),
    "rollout": Entry("rollout", "Bring a configuration to the nodes in waves, and steer that."),
    "status": Entry("status", "Show the revision, where it comes from, and who runs it."),
    "nodes": Entry("nodes", "List, watch, enrol and revoke data planes."),
    "explain": Entry("explain", "Tell what the nodes would do with a request, and why."),
    "context": Entry("context", "Name the control planes that you work with, and choose one."),
    "login": Entry("login", "Log in with a password; the login is kept in a context."),
    "logout": Entry("logout", "End the login of a context."),
    "whoami": Entry("whoami", "Tell who you are to the control plane, and your role."),
    "tokens": Entry("tokens", "Make, list and revoke API tokens."),
    "users": Entry("users", "Make, list, change and delete users."),
    "audit": Entry("audit", "Search, export and verify the audit log."),
    "backup": Entry("backup", "Write one state of the database to a file."),
    "restore": Entry("restore", "Make the database what it was when a backup was made."),
    "migrate": Entry("migrate", "Bring the tables of a database to what this version needs."),
    "completion": Entry("completion", "Print the completion script of a shell."),
}
