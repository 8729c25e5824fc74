"""Header fields (RFC 9110, section 6.3): the lines of a request, and those of a final response."""

import re
from collections.abc import Iterator, Mapping

from app.http_client.errors import NoResponse

FINAL_STATUS = re.compile(rb"HTTP/1\.[01] [2-9][0-9][0-9][ \r]")
END_OF_HEAD = b"\r\n\r\n"


class Fields(Mapping[str, str]):
    """The header fields of a response, by their names in any case.

    Args:
        lines: without their ends.
    """

    def __init__(self, lines: list[bytes]) -> None:
        self._values: dict[str, str] = {}
        for line in lines:
            name, _, value = line.decode("latin-1").partition(":")
            name, value = name.lower(), value.strip()
            # RFC 9110, section 5.3: several fields of a name are one, with commas.
            self._values[name] = f"{self._values[name]}, {value}" if name in self._values else value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def request_lines(headers: Mapping[str, str]) -> list[str]:
    """Return the lines of a request's head.

    Raises:
        NoResponse: a line would end early, and go on as another header or another request.
    """
    # First, that no `Expect: 100-continue` is added. It also keeps the list from being empty, for
    # which pycurl would send the lines of the request before.
    lines = ["Expect:", *[f"{name}: {value}" for name, value in headers.items()]]
    text = "".join(lines)
    if "\n" in text or "\r" in text or "\0" in text or not text.isascii():
        raise NoResponse("a header has a character that is not allowed", was_sent=False)
    return lines


def final_fields(head: list[bytes]) -> Fields:
    """Return the fields of the final response.

    Those before it are of interim responses (RFC 9110, section 15.2), those after it trailers.

    Args:
        head: all lines that were received, with their ends.

    Raises:
        NoResponse: the connection closed before a final response's head was complete.
    """
    text = b"".join(head)
    earlier = text.rfind(END_OF_HEAD + b"HTTP/")
    start = 0 if earlier == -1 else earlier + len(END_OF_HEAD)
    end = text.find(END_OF_HEAD, start)
    if end == -1 or not FINAL_STATUS.match(text, start):
        raise NoResponse("there is no complete final response")
    return Fields(text[start:end].split(b"\r\n")[1:])
