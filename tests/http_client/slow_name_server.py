"""Run in a network of its own, whose name server answers after 6 s: asks for a name there.

Prints the reason of the failure, whether the request was sent, and the seconds it took.
"""

import socket
import threading
import time

from app.http_client import HttpClient, NoResponse

ANSWERS_AFTER = 6.0
# NXDOMAIN, to a query with recursion desired (RFC 1035, section 4.1.1).
NO_SUCH_NAME = b"\x81\x83"


def serve(sock: socket.socket) -> None:
    """Answer queries late."""
    while True:
        query, address = sock.recvfrom(512)
        time.sleep(ANSWERS_AFTER)
        sock.sendto(query[:2] + NO_SUCH_NAME + query[4:], address)


name_server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
name_server.bind(("127.0.0.1", 53))
threading.Thread(target=serve, args=(name_server,), daemon=True).start()
client = HttpClient(2)
began = time.monotonic()
try:
    with client.within(0.3):
        client.request("GET", "http://api.stripe.example/", {})
except NoResponse as failure:
    print(failure, failure.was_sent, time.monotonic() - began, sep="|", flush=True)
