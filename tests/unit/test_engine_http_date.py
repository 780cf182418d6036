"""The Date line that answers share for a second."""

from __future__ import annotations

from dataplane.http1.date import DateLine


def test_a_date_is_written_as_http_has_it() -> None:
    """IMF-fixdate, in GMT (RFC 9110 5.6.7)."""
    assert DateLine().at(784111777.9) == b"Date: Sun, 06 Nov 1994 08:49:37 GMT"


def test_it_follows_a_clock_in_both_directions() -> None:
    """A clock that was set back is believed, too."""
    line = DateLine()
    assert line.at(60.0).endswith(b"00:01:00 GMT")
    assert line.at(61.5).endswith(b"00:01:01 GMT")
    assert line.at(60.0).endswith(b"00:01:00 GMT")
