"""The snapshots of one configuration, one for each set of groups that some node is in: encoded once each, not per node.

A view has a line of its own (digests, history), so that its nodes get deltas of what they may see and nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from controlplane.grouping import Grouping, Groups
from controlplane.snapshot import Snapshot
from shared.table import Table

REMEMBERED = 256
"""Views that are kept; the one that was asked for longest ago goes first, and begins a new line when it comes back."""


class Views:
    """The views of the newest revision, made when they are asked for."""

    def __init__(self, whole: Snapshot) -> None:
        self.whole = whole
        self._before = whole  # the one that the grouping's edits are counted from
        self._grouping = Grouping(whole.table)
        self._views: OrderedDict[Groups, Snapshot] = OrderedDict()
        self._encoded_before = 0  # encodings that earlier snapshots cost

    def __repr__(self) -> str:
        return f"<Views {len(self._views)} of {self.whole!r}>"

    @property
    def encoded(self) -> int:
        """How often something was encoded, over all views and all revisions so far."""
        return self._encoded_before + self.whole.encoded + sum(view.encoded for view in self._views.values())

    def follow(self, whole: Snapshot) -> None:
        """This is the newest revision now."""
        self._encoded_before += self.whole.encoded
        self._grouping = Grouping(whole.table, self._grouping)
        self._before, self.whole = self.whole, whole
        if not self._grouping.divided:
            self._encoded_before += sum(view.encoded for view in self._views.values())
            self._views.clear()

    def branch(self) -> Views:
        """Views of the same revision that can follow another one, while these stay; what is encoded is shared."""
        branch = Views.__new__(Views)
        branch.whole, branch._grouping, branch._views = self.whole, self._grouping, self._views.copy()
        branch._before = self._before
        branch._encoded_before = self._encoded_before
        return branch

    def of(self, labels: Mapping[str, str]) -> Snapshot:
        """What a node with these labels gets."""
        if not self._grouping.divided:
            return self.whole
        groups = self._grouping.groups_of(labels)
        view = self._views.get(groups)
        if view is None:
            view = Snapshot(self.whole.epoch, self.whole.revision, self._grouping.view(groups))
        elif (view.epoch, view.revision) != (self.whole.epoch, self.whole.revision):
            self._encoded_before += view.encoded
            view = view.followed_by(self.whole.epoch, self.whole.revision, self._next(groups, view))
        self._views[groups] = view
        self._views.move_to_end(groups)
        while len(self._views) > REMEMBERED:
            self._encoded_before += self._views.popitem(last=False)[1].encoded
        return view

    def _next(self, groups: Groups, view: Snapshot) -> Table:
        """The table of a view that was made before."""
        if (view.epoch, view.revision) == (self._before.epoch, self._before.revision):
            edited = self._grouping.edited(view.table)
            if edited is not None:
                return edited
        return self._grouping.view(groups, view.table)

    def groups_of(self, labels: Mapping[str, str]) -> Groups:
        """The groups that a node with these labels is in."""
        return self._grouping.groups_of(labels)

    def published(self, revision: int, digest: bytes) -> bool:
        """Whether some view had this digest at this revision: a node whose groups changed holds no wrong thing."""
        return any(view.had(revision, digest) for view in (self.whole, *self._views.values()))
