"""What every connection has: a kernel that gives a dead peer up, and certificates that are checked."""

import socket
import ssl

from relay.net.transport import USER_TIMEOUT_MS, default_tls, guard_tcp


def test_a_connection_that_comes_from_a_guarded_listener_is_guarded() -> None:
    """The kernel probes an idle peer within 25 s, and gives up what is not acknowledged for 5."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        guard_tcp(listener, user_timeout_ms=1234)
        with socket.create_connection(listener.getsockname()) as client:
            guard_tcp(client)
            accepted, _ = listener.accept()
            with accepted:
                for connection, timeout_ms in ((client, USER_TIMEOUT_MS), (accepted, 1234)):
                    tcp = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT]
                    options = [connection.getsockopt(socket.IPPROTO_TCP, option) for option in tcp]
                    assert options == [10, 5, 3, timeout_ms]
                    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_certificates_and_names_are_checked() -> None:
    context = default_tls()

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_the_roots_are_loaded_once() -> None:
    assert default_tls() is default_tls()
