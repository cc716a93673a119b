import gzip
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

from ..tools import transport
from ..tools.message import OutboundRequest
from . import receiver as behaviours
from .pure_case import PureCase
from .receiver import Receiver, answer


class TransportCase(PureCase):
    tls = ()
    tls_days = 1

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.receiver = Receiver(tls=cls.tls, tls_days=cls.tls_days)
        cls.receiver.__enter__()
        cls.addClassCleanup(cls.receiver.__exit__)
        if cls.tls:
            trusted = patch.dict(os.environ, SSL_CERT_FILE=cls.receiver.ca_file)
            trusted.start()
            cls.addClassCleanup(trusted.stop)

    def setUp(self):
        super().setUp()
        transport.reset()
        self.addCleanup(transport.reset)
        self.receiver.clear()

    def request(self, path="/", method="POST", host="127.0.0.1", **values):
        url = values.pop("url", None) or self.receiver.url(path, host)
        return OutboundRequest(method, url, **values)

    def send(self, path="/", *acts, **values):
        """Set the behaviour of a path, send to it, and return the response."""
        if acts:
            self.receiver.on(path, *acts)
        return transport.send(self.request(path, **values))

    def assertRefused(self, response, kind, words="."):
        self.assertIsNone(response.status)
        self.assertFalse(response.ok)
        self.assertEqual(response.error_kind, kind, response.error)
        self.assertRegex(response.error, words)

    @property
    def connections(self):
        return [request.connection for request in self.receiver.requests]


class TestSend(TransportCase):
    def test_what_is_asked_for_arrives_and_nothing_else(self):
        body = '{"name": "Їжак"}'.encode()
        headers = {"X-Custom": "é ", "Content-Type": "application/json"}
        self.send("/a/b%2Fc?x=1&y=%20", headers=headers, body=body)
        [received] = self.receiver.requests
        self.assertEqual(received.method, "POST")
        self.assertEqual(received.target, "/a/b%2Fc?x=1&y=%20")
        self.assertEqual(received.body, body)
        self.assertEqual(
            received.headers,
            {
                "host": f"127.0.0.1:{self.receiver.port}",
                "x-custom": "é",
                "content-type": "application/json",
                "accept-encoding": "gzip, deflate",
                "content-length": str(len(body)),
            },
        )

    def test_the_answer_comes_back_as_it_was_given(self):
        response = self.send(
            "/", answer(201, b'{"id": 5}', {"X-A": "1", "Location": "/5"})
        )
        self.assertTrue(response.ok)
        self.assertEqual(response.status_code, 201)
        self.assertEqual(response.json(), {"id": 5})
        self.assertEqual(response.headers["LOCATION"], "/5")
        self.assertEqual(response.headers.get("x-a"), "1")
        self.assertIn("X-A", response.headers)
        self.assertIsNone(response.headers.get("X-B"))
        self.assertEqual(response.url, self.receiver.url("/"))
        self.assertFalse(response.truncated)
        self.assertGreater(response.duration, 0)

    def test_methods_with_and_without_a_body_are_framed_as_rfc_9110_asks(self):
        for method, body, length in [
            ("GET", b"", None),
            ("DELETE", b"", None),
            ("DELETE", b"x", "1"),
            ("POST", b"", "0"),
            ("PUT", b"xy", "2"),
            ("HEAD", b"", None),
        ]:
            with self.subTest(method=method, body=body):
                self.receiver.clear()
                response = self.send(method=method, body=body)
                self.assertTrue(response.ok, response.error)
                self.assertEqual(bool(response.body), method != "HEAD")
                [received] = self.receiver.requests
                self.assertEqual(received.method, method)
                self.assertEqual(received.headers.get("content-length"), length)

    def test_every_status_is_an_answer(self):
        for status in (200, 204, 304, 400, 401, 404, 409, 410, 429, 500, 503, 599):
            with self.subTest(status=status):
                response = self.send("/", answer(status))
                self.assertEqual(response.status, status)
                self.assertEqual((response.error_kind, response.error), ("", ""))

    def test_a_redirect_is_an_answer_and_never_followed(self):
        with Receiver() as other:
            for status in (301, 302, 303, 307, 308):
                with self.subTest(status=status):
                    redirect = behaviours.redirect(other.url("/stolen"), status)
                    headers = {"Authorization": "Bearer secret"}
                    response = self.send("/", redirect, headers=headers)
                    self.assertEqual(response.status, status)
                    self.assertEqual(response.headers["Location"], other.url("/stolen"))
            self.assertEqual(other.requests, [])

    def test_cookies_proxies_and_netrc_have_no_influence(self):
        self.receiver.on("/", answer(headers={"Set-Cookie": "session=1; Path=/"}))
        with Receiver() as proxy:
            environ = {"http_proxy": proxy.url(), "HTTP_PROXY": proxy.url()}
            with patch.dict(os.environ, environ):
                self.send()
                self.send()
            self.assertEqual(proxy.requests, [])
        self.assertEqual(len(self.receiver.requests), 2)
        for received in self.receiver.requests:
            self.assertNotIn("cookie", received.headers)
            self.assertNotIn("authorization", received.headers)

    def test_packed_answers_are_unpacked(self):
        text = b"body " * 100_000
        raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        for encoding, packed, expected in [
            ("gzip", gzip.compress(text), text),
            ("X-GZIP", gzip.compress(text), text),
            ("deflate", zlib.compress(text), text),
            ("deflate", raw.compress(text) + raw.flush(), text),
            ("gzip", b"", b""),
            ("identity", b"plain", b"plain"),
            ("br", b"unknown", b"unknown"),
        ]:
            with self.subTest(encoding=encoding):
                headers = {"Content-Encoding": encoding}
                response = self.send("/", answer(body=packed, headers=headers))
                self.assertEqual(response.body, expected, response.error)
                self.assertFalse(response.truncated)

    def test_the_guard_of_odoo_tests_sees_what_is_sent(self):
        response = transport.send(self.request(url="http://192.0.2.1/"))
        self.assertRefused(response, "blocked", "verboten")


class TestKeptConnections(TransportCase):
    def test_requests_in_a_row_share_a_connection(self):
        for body in (b"", b"x" * 100_000):
            for status in (200, 204, 404, 500):
                self.send("/", answer(status, body))
        self.assertEqual(len(self.receiver.requests), 8)
        self.assertEqual(len(set(self.connections)), 1)

    def test_other_checks_need_another_connection(self):
        self.send()
        self.send(blocked_networks=("10.0.0.0/8",))
        self.send(host="localhost")
        self.send(verify_tls=False)
        self.send(blocked_networks=("10.0.0.0/8",))
        first, second, third, fourth, again = self.connections
        self.assertEqual(len({first, second, third, fourth}), 4)
        self.assertEqual(again, second)

    def test_an_answer_that_ends_with_its_connection_ends_it_here_too(self):
        self.send("/", answer(headers={"Connection": "close"}, close=True))
        self.assertTrue(self.send().ok)
        self.assertEqual(len(set(self.connections)), 2)

    def test_a_connection_closed_while_idle_costs_nothing(self):
        self.send("/", answer(close=True), answer())
        self.receiver.wait_closed()
        self.assertTrue(self.send().ok)
        self.receiver.hang_up()
        self.receiver.wait_closed()
        self.assertTrue(self.send().ok)
        self.assertEqual(len(self.receiver.requests), 3)
        self.assertEqual(len(set(self.connections)), 3)

    def test_a_connection_idle_for_long_is_not_used_again(self):
        self.send()
        with patch.object(transport, "IDLE_SECONDS", 0.05):
            time.sleep(0.1)
            self.send()
        self.assertEqual(len(set(self.connections)), 2)

    def test_a_request_that_was_cut_off_is_sent_again_on_a_new_connection(self):
        self.send()
        self.receiver.on("/big", behaviours.refuse_body(), answer(201))
        response = self.send("/big", body=b"x" * (16 << 20))
        self.assertEqual(response.status, 201, response.error)
        used, closed, fresh = self.connections
        self.assertEqual(used, closed)
        self.assertNotEqual(fresh, used)
        self.assertEqual(len(self.receiver.requests[-1].body), 16 << 20)

    def test_a_request_cut_off_on_a_new_connection_is_a_failed_attempt(self):
        refuse = behaviours.refuse_body()
        response = self.send("/big", refuse, body=b"x" * (16 << 20))
        self.assertRefused(response, "reset")
        self.assertEqual(len(self.receiver.requests), 1)

    def test_a_request_that_may_have_been_processed_is_not_sent_again(self):
        for act in (behaviours.reset(), behaviours.drop()):
            with self.subTest(act=act):
                self.receiver.clear()
                self.send()
                response = self.send("/", act)
                self.assertRefused(response, "reset", "may have processed")
                self.assertEqual(len(self.receiver.requests), 2)
                self.assertEqual(len(set(self.connections)), 1)

    def test_the_kernel_tells_a_request_that_came_too_late_from_one_that_was_read(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        for reads_first in (False, True):
            with self.subTest(reads_first=reads_first):
                client = socket.create_connection(listener.getsockname())
                server, _address = listener.accept()
                if not reads_first:
                    server.close()
                client.sendall(b"request")
                if reads_first:
                    self.assertEqual(server.recv(100), b"request")
                    server.close()
                self.assertEqual(client.recv(1), b"")
                late = transport._was_not_received(client)
                self.assertIs(late, not reads_first)
                client.close()

    def test_many_threads_send_at_once_and_each_request_arrives_once(self):
        def send(number):
            return transport.send(self.request("/", body=b"%d" % number)).ok

        with ThreadPoolExecutor(8) as threads:
            self.assertTrue(all(threads.map(send, range(200))))
        bodies = sorted(int(request.body) for request in self.receiver.requests)
        self.assertEqual(bodies, list(range(200)))
        self.assertLessEqual(len(set(self.connections)), 8)

    def test_a_forked_worker_opens_its_own_connection(self):
        self.send(body=b"parent")
        child = os.fork()
        if not child:
            os._exit(0 if self.send(body=b"child").ok else 1)
        _pid, status = os.waitpid(child, 0)
        self.assertEqual(status, 0)
        self.assertTrue(self.send(body=b"parent").ok)
        first, second, third = self.connections
        self.assertEqual(first, third)
        self.assertNotEqual(first, second)


class TestLimits(TransportCase):
    def assertTakes(self, response, seconds):
        self.assertGreaterEqual(response.duration, seconds * 0.9)
        # The default limits are longer, and what a busy machine adds is shorter.
        self.assertLess(response.duration, seconds + 8)

    def test_silence_ends_at_the_read_limit(self):
        response = self.send("/", behaviours.hang(), read_timeout=0.3)
        self.assertRefused(response, "timeout", r"did not come within 0\.3 s")
        self.assertTakes(response, 0.3)

    def test_a_trickling_answer_ends_at_the_total_limit(self):
        for part in ("headers", "body"):
            with self.subTest(part=part):
                trickle = behaviours.trickle(part, interval=0.02)
                response = self.send("/", trickle, read_timeout=5, total_timeout=0.5)
                self.assertRefused(response, "timeout", r"complete within 0\.5 s")
                self.assertTakes(response, 0.5)

    def test_a_reader_that_stops_reading_ends_at_the_limit(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        response = self.send(
            url=f"http://127.0.0.1:{listener.getsockname()[1]}/",
            body=b"x" * (32 << 20),
            read_timeout=0.3,
        )
        self.assertRefused(response, "timeout")
        self.assertTakes(response, 0.3)

    def test_a_connection_that_is_not_accepted_ends_at_the_connect_limit(self):
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.addCleanup(listener.close)
        for _place in range(2):  # the queue is full after these
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
            self.addCleanup(waiting.close)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        response = self.send(url=url, connect_timeout=0.3)
        self.assertRefused(response, "timeout", r"accept a connection within 0\.3 s")
        self.assertTakes(response, 0.3)

    def test_a_name_server_that_is_silent_ends_at_the_connect_limit(self):
        over = threading.Event()
        self.addCleanup(over.set)
        with patch("socket.getaddrinfo", lambda *args, **kwargs: over.wait(60)):
            response = self.send(connect_timeout=0.3)
        self.assertRefused(response, "dns", "in time")
        self.assertTakes(response, 0.3)

    def test_an_answer_is_read_up_to_its_limit(self):
        for size, truncated in [(999, False), (1000, False), (1001, True)]:
            with self.subTest(size=size):
                act = answer(body=b"x" * size)
                response = self.send("/", act, max_response_bytes=1000)
                self.assertEqual(response.status, 200)
                self.assertEqual(len(response.body), min(size, 1000))
                self.assertIs(response.truncated, truncated)

    def test_a_terabyte_is_not_read(self):
        for chunked in (False, True):
            with self.subTest(chunked=chunked):
                response = self.send("/", behaviours.huge(1 << 40, chunked))
                self.assertEqual(response.status, 200)
                self.assertEqual(len(response.body), 1 << 20)
                self.assertTrue(response.truncated)
                self.assertLess(response.duration, 60)
        self.assertTrue(self.send("/next").ok)

    def test_a_small_answer_that_unpacks_to_a_large_one_is_cut(self):
        act = behaviours.gzip_bomb(1 << 26)
        response = self.send("/", act, max_response_bytes=1000)
        self.assertEqual(response.body, bytes(1000))
        self.assertTrue(response.truncated)


class TestInterimAnswers(TransportCase):
    def test_the_final_answer_is_waited_for(self):
        interim = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        interim += "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        final = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
        response = self.send("/", behaviours.raw(interim + final))
        self.assertEqual((response.status, response.body), (201, b"ok"))
        self.assertNotIn("link", response.headers)

    def test_another_protocol_is_not_waited_for(self):
        response = self.send("/", behaviours.raw("HTTP/1.1 101 Other\r\n\r\n"))
        self.assertEqual(response.status, 101)


class TestFailures(TransportCase):
    def test_an_answer_that_breaks_off_is_no_answer(self):
        whole = gzip.compress(b"text" * 1000)
        packed = {"Content-Encoding": "gzip"}
        chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for act, words in [
            (behaviours.reset(), "Connection reset"),
            (behaviours.drop(), "before its answer was complete"),
            (behaviours.close_half_way(), "before its answer was complete"),
            (behaviours.raw(chunked + "5\r\nab"), "before its answer was complete"),
            (behaviours.raw(chunked + "not a size\r\n"), "complete"),
            (behaviours.raw(chunked + "-5\r\nab"), "not HTTP"),
            (behaviours.raw("SSH-2.0-OpenSSH_9\r\n"), "not HTTP"),
            (behaviours.raw("HTTP/1.1 2xx OK\r\n\r\n"), "not HTTP"),
            (behaviours.raw("HTTP/1.1 200 OK\r\n" + "A: b\r\n" * 200), "not HTTP"),
            (behaviours.raw("HTTP/1.1 200 " + "O" * 70_000), "not HTTP"),
            (answer(body=b"not gzip", headers=packed), "cannot be unpacked"),
            (answer(body=whole[:20], headers=packed), "before its answer was complete"),
        ]:
            with self.subTest(words=words):
                self.assertRefused(self.send("/", act), "reset", words)
        self.assertTrue(self.send("/next").ok)

    def test_a_closed_port_is_said_with_host_and_port(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        response = self.send(url=f"http://127.0.0.1:{port}/")
        self.assertRefused(response, "connect", f"127.0.0.1:{port} .*refused")

    def test_a_name_that_does_not_exist_is_said(self):
        # A label of more than 63 characters is refused without asking any name server.
        request = self.request(url=f"http://{'x' * 64}.example/")
        target = transport._parse_url(request.url)
        with self.assertRaisesRegex(Exception, "could not be resolved") as caught:
            transport._connect(request, transport._Attempt(request), target)
        self.assertEqual(caught.exception.kind, "dns")

    def test_an_answer_that_comes_before_the_body_was_read_is_kept(self):
        response = self.send("/", behaviours.refuse_body(413), body=b"x" * (16 << 20))
        self.assertEqual(response.status, 413, response.error)
        self.assertTrue(self.send("/next").ok)

    def test_bad_headers_are_refused_before_anything_is_sent(self):
        for headers, words in [
            ({"X-A": "secret\r\nX-B: 1"}, "X-A .*single line"),
            ({"X-A": "secret\n"}, "single line"),
            ({"X-A": "secret\0"}, "single line"),
            ({"X-A": "secret 日本"}, "X-A .*Latin-1"),
            ({"X-A": None}, "not text"),
            ({"X-A": 5}, "not text"),
            ({"X A": "secret"}, "'X A' is not valid"),
            ({"X-A:": "secret"}, "is not valid"),
            ({"X-A\r\nX-B": "secret"}, "is not valid"),
            ({"Ключ": "secret"}, "is not valid"),
            ({"": "secret"}, "is not valid"),
            ({"Content-Length": "3"}, "content-length"),
            ({"Transfer-Encoding": "chunked"}, "transfer-encoding"),
        ]:
            with self.subTest(headers=headers):
                response = self.send(headers=headers)
                self.assertRefused(response, "invalid", words)
                self.assertNotIn("secret", response.error)
        self.assertRefused(self.send(method="GET /\r\n"), "invalid", "method")
        self.assertEqual(self.receiver.requests, [])

    def test_bad_urls_are_refused_before_anything_is_opened(self):
        for url, words in [
            ("ftp://127.0.0.1/", "https://"),
            ("/orders", "https://"),
            ("http://", "host"),
            ("http://ann:secret@127.0.0.1/", "login"),
            ("http://127.0.0.1:port/", "not well formed"),
            ("http://127.0.0.1/a b", "space"),
            ("http://127.0.0.1/\r\nX: 1", "control"),
            ("http://evil.example\\@127.0.0.1/", "backslash"),
            ("http://127.0.0.1%2eexample/", "host"),
            ("http://{shop}/", "host"),
            ("http://[fe80::1%25eth0]/", "host|well formed"),
        ]:
            with self.subTest(url=url):
                response = transport.send(OutboundRequest("GET", url))
                self.assertRefused(response, "invalid", words)
                self.assertNotIn("secret", response.error)

    def test_the_path_is_encoded_but_not_twice(self):
        self.send("/ї/%D1%97/{x}|?q=ї&r=%20#part")
        [received] = self.receiver.requests
        self.assertEqual(received.target, "/%D1%97/%D1%97/%7Bx%7D%7C?q=%D1%97&r=%20")


class TestAddressGuard(TransportCase):
    def test_an_address_is_judged_in_every_disguise(self):
        default = transport.DEFAULT_BLOCKED
        loopback = ("127.0.0.0/8", "::1/128")
        for address, networks, expected in [
            ("169.254.169.254", default, True),
            ("169.254.0.1", default, True),
            ("100.100.100.200", default, True),
            ("192.0.0.192", default, True),
            ("fe80::1", default, True),
            ("fe80::1%eth0", default, True),
            ("fd00:ec2::254", default, True),
            ("::ffff:169.254.169.254", default, True),
            ("64:ff9b::169.254.169.254", default, True),
            ("2002:a9fe:a9fe::1", default, True),
            ("127.0.0.1", default, False),
            ("::1", default, False),
            ("192.168.1.10", default, False),
            ("10.0.0.1", default, False),
            ("93.184.216.34", default, False),
            ("2606:2800:220:1::1", default, False),
            ("127.1.2.3", loopback, True),
            ("0.0.0.0", loopback, True),
            ("::", loopback, True),
            ("::ffff:127.0.0.1", loopback, True),
            ("::ffff:0.0.0.0", loopback, True),
            ("64:ff9b::7f00:1", loopback, True),
            ("128.0.0.1", loopback, False),
            ("127.0.0.1", (), False),
            ("10.1.2.3", ("10.9.9.9/8",), True),
        ]:
            with self.subTest(address=address, networks=networks):
                self.assertIs(transport.is_blocked(address, networks), expected)

    def test_a_blocked_destination_is_never_connected_to(self):
        for host in ("127.0.0.1", "localhost"):
            with self.subTest(host=host):
                networks = ("127.0.0.0/8", "::1/128")
                response = self.send(host=host, blocked_networks=networks)
                self.assertRefused(
                    response, "blocked", f"{host} leads to .*blocked_net"
                )
        self.assertEqual(self.receiver.requests, [])

    def test_spellings_of_an_address_are_judged_by_what_they_resolve_to(self):
        for host in ("2130706433", "0x7f.1", "0177.0.0.1", "127.1", "１２７.0.0.1"):
            with self.subTest(host=host):
                request = self.request(
                    url=f"http://{host}/", blocked_networks=("127.0.0.0/8",)
                )
                target = transport._parse_url(request.url)
                with self.assertRaisesRegex(Exception, "blocked network"):
                    transport._connect(request, transport._Attempt(request), target)

    def test_a_name_is_resolved_once_and_the_judged_address_connected(self):
        answers = [("127.0.0.1",), ("169.254.169.254",)]
        real, calls = socket.getaddrinfo, []

        def flip(_host, port, **kwargs):
            calls.append(port)
            return real(*answers[len(calls) - 1], port, **kwargs)

        with patch("socket.getaddrinfo", flip):
            blocked = transport.DEFAULT_BLOCKED
            self.assertTrue(self.send(host="localhost", blocked_networks=blocked).ok)
            self.assertEqual(len(calls), 1)
            transport.reset()
            response = self.send(host="localhost", blocked_networks=blocked)
            self.assertRefused(response, "blocked", r"169\.254\.169\.254")

    def test_one_blocked_address_among_several_blocks_the_name(self):
        real = socket.getaddrinfo

        def both(_host, port, **kwargs):
            return [
                *real("127.0.0.1", port, **kwargs),
                *real("169.254.169.254", port, **kwargs),
            ]

        with patch("socket.getaddrinfo", both):
            response = self.send(blocked_networks=transport.DEFAULT_BLOCKED)
        self.assertRefused(response, "blocked")
        self.assertEqual(self.receiver.requests, [])

    def test_a_list_that_cannot_be_read_blocks_everything(self):
        response = self.send(blocked_networks=("10.0.0.0/8", "169.254.0.0/33"))
        self.assertRefused(response, "blocked", r"169\.254\.0\.0/33")

    def test_a_connection_opened_without_a_guard_is_not_used_under_one(self):
        self.assertTrue(self.send().ok)
        self.assertRefused(self.send(blocked_networks=("127.0.0.1/32",)), "blocked")


class TestTLS(TransportCase):
    tls = ("localhost",)

    def test_a_trusted_certificate_is_asked_for_by_name_and_accepted(self):
        self.assertTrue(self.send(host="localhost").ok)
        self.assertTrue(self.send(host="localhost").ok)
        self.assertEqual(len(set(self.connections)), 1)
        self.assertEqual(self.receiver.requests[0].server_name, "localhost")

    def test_a_certificate_for_another_name_is_refused(self):
        response = self.send(host="127.0.0.1")
        self.assertRefused(response, "tls", r"127\.0\.0\.1:\d+ is not accepted: IP")
        self.assertEqual(self.receiver.requests, [])

    def test_a_certificate_that_nobody_vouches_for_is_refused(self):
        with patch.dict(os.environ, {"SSL_CERT_FILE": os.devnull}):
            transport.reset()
            response = self.send(host="localhost")
        self.assertRefused(response, "tls", "self.signed certificate")
        self.assertEqual(self.receiver.requests, [])

    def test_checks_can_be_switched_off_for_one_request_alone(self):
        self.assertTrue(self.send(host="127.0.0.1", verify_tls=False).ok)
        self.assertRefused(self.send(host="127.0.0.1"), "tls")

    def test_limits_hold_under_tls_too(self):
        for act in (
            behaviours.hang(),
            behaviours.trickle("headers", interval=0.02),
            behaviours.trickle("body", interval=0.02),
        ):
            with self.subTest(act=act):
                response = self.send("/", act, host="localhost", total_timeout=0.4)
                self.assertRefused(response, "timeout")
                self.assertLess(response.duration, 8)

    def test_failures_have_the_same_kinds_under_tls(self):
        for act in (
            behaviours.reset(),
            behaviours.drop(),
            behaviours.close_half_way(),
        ):
            with self.subTest(act=act):
                self.assertRefused(self.send("/", act, host="localhost"), "reset")

    def test_a_connection_closed_while_idle_costs_nothing_under_tls(self):
        self.assertTrue(self.send(host="localhost").ok)
        self.receiver.hang_up()
        self.receiver.wait_closed()
        self.assertTrue(self.send(host="localhost").ok)

    def test_https_to_a_plain_port_and_back_is_explained(self):
        with Receiver() as plain:
            url = plain.url().replace("http:", "https:")
            self.assertRefused(
                self.send(url=url), "tls", "No TLS .* start with http://"
            )
        url = self.receiver.url().replace("https:", "http:")
        self.assertRefused(self.send(url=url), "reset")

    def test_a_server_that_never_shakes_hands_ends_at_the_connect_limit(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
            response = self.send(url=url, connect_timeout=0.3)
        self.assertRefused(response, "timeout", "handshake")


class TestExpiredCertificate(TransportCase):
    tls = ("localhost",)
    tls_days = -1

    def test_an_expired_certificate_is_refused(self):
        self.assertRefused(self.send(host="localhost"), "tls", "expired")

    def test_a_probe_shows_the_certificate_that_was_refused(self):
        found = transport.probe(self.request(host="localhost"))
        self.assertFalse(found["ok"])
        self.assertEqual(found["error_kind"], "tls")
        names = [step["name"] for step in found["steps"]]
        self.assertEqual(names, ["dns", "connect", "tls"])
        tls = found["steps"][-1]
        self.assertIn("expired", tls["detail"])
        self.assertEqual(tls["certificate"]["names"], ["localhost"])
        self.assertEqual(tls["certificate"]["subject"], "CN=localhost")
        today = time.strftime("%Y-%m-%d", time.gmtime())
        self.assertLess(tls["certificate"]["expires"], today)
        self.assertEqual(self.receiver.requests, [])


class TestProbe(TransportCase):
    def probe(self, *acts, **values):
        if acts:
            self.receiver.on("/", *acts)
        return transport.probe(self.request(**values))

    def test_each_step_is_shown_with_its_time(self):
        found = self.probe(headers={"Authorization": "Bearer x"}, body=b"data")
        self.assertTrue(found["ok"])
        self.assertEqual(found["status"], 200)
        steps = [(step["name"], step["ok"], step["detail"]) for step in found["steps"]]
        self.assertEqual(
            steps,
            [
                ("dns", True, "127.0.0.1"),
                ("connect", True, "127.0.0.1"),
                ("http", True, "HEAD answered 200"),
            ],
        )
        for step in found["steps"]:
            self.assertGreaterEqual(step["ms"], 0)
        [received] = self.receiver.requests
        self.assertEqual((received.method, received.body), ("HEAD", b""))
        self.assertEqual(received.headers["authorization"], "Bearer x")

    def test_a_method_that_is_not_known_makes_room_for_the_next(self):
        for acts, method, status in [
            ([answer(405), answer(204)], "OPTIONS", 204),
            ([answer(501), answer(405), answer(200)], "GET", 200),
            ([answer(405)], "GET", 405),
            ([answer(401)], "HEAD", 401),
        ]:
            with self.subTest(method=method, status=status):
                self.receiver.clear()
                found = self.probe(*acts)
                self.assertEqual((found["method"], found["status"]), (method, status))
                self.assertEqual(found["ok"], status < 400)
                self.assertEqual(len(found["steps"]), 3)

    def test_it_opens_a_new_connection_every_time(self):
        self.probe()
        self.probe()
        self.assertEqual(len(set(self.connections)), 2)

    def test_it_stops_at_the_step_that_failed(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        for values, names, kind in [
            ({"url": url}, ["dns", "connect"], "connect"),
            ({"blocked_networks": ("127.0.0.1",)}, ["dns"], "blocked"),
            ({"url": "ftp://127.0.0.1/"}, ["http"], "invalid"),
        ]:
            with self.subTest(kind=kind):
                found = self.probe(**values)
                self.assertEqual([step["name"] for step in found["steps"]], names)
                self.assertFalse(found["ok"] or found["steps"][-1]["ok"])
                self.assertEqual(found["error_kind"], kind)
                self.assertEqual(found["steps"][-1]["detail"], found["error"])
        found = self.probe(behaviours.hang(), read_timeout=0.2)
        self.assertEqual(found["error_kind"], "timeout")
        self.assertEqual(found["steps"][-1]["name"], "http")


class TestTLSProbe(TransportCase):
    tls = ("localhost",)

    def test_an_accepted_certificate_is_shown(self):
        found = transport.probe(self.request(host="localhost"))
        self.assertTrue(found["ok"], found)
        tls = found["steps"][2]
        self.assertRegex(tls["detail"], "TLSv1")
        self.assertEqual(tls["certificate"]["names"], ["localhost"])
        today = time.strftime("%Y-%m-%d", time.gmtime())
        self.assertGreaterEqual(tls["certificate"]["expires"], today)

    def test_a_certificate_for_another_name_is_shown(self):
        found = transport.probe(self.request(host="127.0.0.1"))
        self.assertEqual(found["error_kind"], "tls")
        self.assertEqual(found["steps"][2]["certificate"]["names"], ["localhost"])


class TestReceiverProcess(PureCase):
    def test_it_runs_as_a_process_with_behaviours_and_a_log(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        log = os.path.join(directory.name, "requests.jsonl")
        steps = {"/a": [["retry_after", {"value": 7}], ["answer", {"status": 201}]]}
        command = [sys.executable, behaviours.__file__, "--log", log]
        with subprocess.Popen(
            [*command, "--on", json.dumps(steps)], stdout=subprocess.PIPE, text=True
        ) as process:
            self.addCleanup(process.kill)
            url = process.stdout.readline().strip()
            request = OutboundRequest("PUT", url + "a", body="ї".encode())
            first, second = transport.send(request), transport.send(request)
            process.terminate()
        self.assertEqual((first.status, second.status), (429, 201))
        self.assertEqual(first.headers["Retry-After"], "7")
        with open(log, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        self.assertEqual(
            [(row["path"], row["body"]) for row in rows], [("/a", "ї")] * 2
        )
