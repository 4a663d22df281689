"""Real reverse proxies in front of a relay, each with the configuration that its documentation shows for it."""

import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import trio

START_S = 20.0

_NGINX = """
daemon off;
error_log stderr;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{relay};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""
_HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend in
    bind 127.0.0.1:{port}
    option forwardfor
    default_backend relay
backend relay
    server relay 127.0.0.1:{relay}
"""
_CADDY = """
{{
    admin off
    auto_https off
    storage file_system {folder}/caddy
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{relay}
}}
"""
SEND_PROXY = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend in
    bind 127.0.0.1:{port}
    default_backend relay
backend relay
    server relay 127.0.0.1:{relay} check inter 200ms {how}
"""
"""HAProxy passes TCP on, looks whether the relay is there, and says `how` whose connection it is."""
PROXIES: dict[str, tuple[str, Callable[[str], list[str]]]] = {
    "nginx": (_NGINX, lambda config: ["-c", config, "-p", str(Path(config).parent), "-e", "stderr"]),
    "haproxy": (_HAPROXY, lambda config: ["-db", "-f", config]),
    "caddy": (_CADDY, lambda config: ["run", "--adapter", "caddyfile", "--config", config]),
}
"""The text of its configuration, and its arguments for the file with it."""


def program(name: str) -> str | None:
    """The path of a proxy; None where it is not installed."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


DEPLOYED: dict[str, tuple[str, str]] = {
    "nginx": (
        "nginx.conf",
        """daemon off; error_log stderr; pid {folder}/nginx.pid; events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{text}
}}
""",
    ),
    "haproxy": ("haproxy.cfg", "{text}"),
    "caddy": (
        "Caddyfile",
        """{{
    admin off
    auto_https disable_redirects
    https_port {port}
    storage file_system {folder}/caddy
}}
{text}
""",
    ),
}
"""The name of a file in deploy/proxies, and what a proxy that nobody installed needs around it."""
DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy" / "proxies"
BALANCER = DEPLOY.parent / "haproxy" / "haproxy.cfg"


@contextmanager
def proxy(name: str, relay_port: int, folder: Path) -> Iterator[int]:
    """The proxy of this name in front of a relay on 127.0.0.1; yields its own port, where it answers soon."""
    with _running(name, folder, lambda port: PROXIES[name][0].format(folder=folder, port=port, relay=relay_port)) as it:
        yield it


@contextmanager
def passing_tcp(how: str, relay_port: int, folder: Path) -> Iterator[int]:
    """As `proxy`: HAProxy, which does not look into what it passes on."""
    with _running("haproxy", folder, lambda port: SEND_PROXY.format(port=port, relay=relay_port, how=how)) as port:
        yield port


@contextmanager
def deployed_proxy(name: str, relay_port: int, folder: Path, certificate: tuple[Path, Path]) -> Iterator[int]:
    """As `proxy`, with the file of deploy/proxies and this certificate, so that it speaks TLS."""
    file, around = DEPLOYED[name]
    both = _in_one_file(certificate, folder)
    made = str(both) if name == "haproxy" else str(certificate[0])

    def text(port: int) -> str:
        own = (DEPLOY / file).read_text().replace("127.0.0.1:8080", f"127.0.0.1:{relay_port}")
        own = own.replace("/etc/ssl/relay.pem", made).replace("/etc/ssl/relay.key", str(certificate[1]))
        own = own.replace("listen 443", f"listen 127.0.0.1:{port}").replace("bind :443", f"bind 127.0.0.1:{port}")
        return around.format(folder=folder, port=port, text=own)

    with _running(name, folder, text) as port:
        yield port


def _in_one_file(certificate: tuple[Path, Path], folder: Path) -> Path:
    """The certificate and, behind it, its key, as HAProxy wants them."""
    both = folder / "both.pem"
    both.write_text("".join(path.read_text() for path in certificate))
    return both


@contextmanager
def haproxy_before(
    servers: Mapping[str, int], folder: Path, certificate: tuple[Path, Path] | None = None
) -> Iterator[int]:
    """HAProxy with the file of deploy/haproxy in front of these processes, which are its servers; with this
    certificate, or without TLS."""

    def text(port: int) -> str:
        if certificate is None:
            own = re.sub(r"bind :443 .*", f"bind 127.0.0.1:{port}", BALANCER.read_text())
        else:
            own = BALANCER.read_text().replace("/etc/ssl/relay.pem", str(_in_one_file(certificate, folder)))
            own = own.replace("bind :443", f"bind 127.0.0.1:{port}")
        lines = "".join(f"    server {name} 127.0.0.1:{at}\n" for name, at in servers.items())
        return re.sub(r"(    server \w+ [\d.:]+\n)+", lines, own)

    with _running("haproxy", folder, text) as port:
        yield port


@contextmanager
def _running(name: str, folder: Path, text: Callable[[int], str]) -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = int(probe.getsockname()[1])
    config = folder / name
    config.write_text(text(port))
    command = [program(name) or name, *PROXIES[name][1](str(config))]
    environ = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with open(folder / f"{name}.log", "wb") as log:  # noqa: PTH123
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
    try:
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def connected_from(client: str, port: int) -> trio.SocketStream:
    """A connection to 127.0.0.1 from another address of loopback. Waits until something listens there."""
    with trio.fail_after(START_S):
        while True:
            stream = trio.socket.socket()
            await stream.bind((client, 0))
            try:
                await stream.connect(("127.0.0.1", port))
            except OSError:
                stream.close()
                await trio.sleep(0.02)
            else:
                return trio.SocketStream(stream)
