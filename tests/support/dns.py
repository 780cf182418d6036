"""A DNS server under the test's control: real UDP, records that change, answers that fail or never come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.support.deadline import Bell


class DnsServer(asyncio.DatagramProtocol):
    """`records`: addresses by name; `aliases`: CNAMEs by name. `asked` are the questions, such as ("api.test", "A")."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        self.aliases: dict[str, str] = {}
        self.ttl = 1
        self.rcode = dns.rcode.NOERROR  # anything else is answered to every question
        self.silent = False
        self.asked: list[tuple[str, str]] = []
        self.bell = Bell()
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._unanswered: list[tuple[dns.message.Message, tuple[str, int]]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def until_asked(self, count: int = 1) -> None:
        """Wait for that many questions from now on."""
        wanted = len(self.asked) + count
        await self.bell.until(lambda: len(self.asked) >= wanted, f"{count} more questions")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = dns.message.from_wire(data)
        if self.silent:
            self._unanswered.append((question, addr))
        else:
            self._send(question, addr)
        asked = question.question[0]
        self.asked.append((asked.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(asked.rdtype)))
        self.bell.ring()

    def speak(self) -> None:
        """Be silent no more, and answer what was asked meanwhile."""
        self.silent = False
        for question, addr in self._unanswered:
            self._send(question, addr)
        self._unanswered.clear()

    def _send(self, question: dns.message.Message, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            self._transport.sendto(self._answer(question).to_wire(), addr)

    def _answer(self, question: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        asked = question.question[0]
        name = asked.name.to_text(omit_final_dot=True).lower()
        if self.rcode != dns.rcode.NOERROR:
            answer.set_rcode(self.rcode)
            return answer
        owner = asked.name
        if name in self.aliases:
            name = self.aliases[name]
            answer.answer.append(dns.rrset.from_text(owner, self.ttl, "IN", "CNAME", f"{name}."))
            owner = answer.answer[0][0].target
        if name not in self.records:
            answer.set_rcode(dns.rcode.NXDOMAIN)
            return answer
        kind = "AAAA" if asked.rdtype == dns.rdatatype.AAAA else "A"
        if found := [address for address in self.records[name] if (":" in address) == (kind == "AAAA")]:
            answer.answer.append(dns.rrset.from_text(owner, self.ttl, "IN", kind, *found))
        return answer


@asynccontextmanager
async def dns_server(**records: list[str]) -> AsyncIterator[DnsServer]:
    """A server on a port of its own that knows `NAME.test` for each record."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(DnsServer, local_addr=("127.0.0.1", 0))
    server.records = {f"{name}.test": addresses for name, addresses in records.items()}
    try:
        yield server
    finally:
        transport.close()
