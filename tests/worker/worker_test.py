#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs scripts in a real worker over real HTTP. Usage: worker_test.py WORKER_BINARY [unittest arguments]

Each test's name is what the worker promises. What the web API must give is written out here, from the standards.
"""
import concurrent.futures
import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import tempfile
import time
import unittest

from harness import HERE, PATIENCE, Worker, run_to_end


class WebApi(unittest.TestCase):
    """Each observation of scripts/api.js, against what the standards say."""

    EXPECTED = {
        "url_parts": ["http://user:p%20w@example.com:8080/c/d?q=1&r=%41#top", "http://example.com:8080", "user", "p%20w",
                      "example.com:8080", "example.com", "8080", "/c/d", "?q=1&r=%41", "#top"],
        "url_default_port": "http://h/",
        "url_relative": ["http://h/a/x", "http://h/y", "http://h/a/b/c?z", "http://h/a/b/c?d#f", "http://o/p", "http://h/a/b/k/l"],
        "url_ipv4": "127.0.0.1",
        "url_ipv6": "[2001:db8::1:0:0:1]",
        "url_idn": "http://xn--mnchen-3ya.de/%C3%9F",
        "url_bad": [False] * 5,
        "url_error": 'TypeError: Invalid URL: "nothing"',
        "url_setters": ["https://u@x:81/q%20r?a=1&b=2+3#g%20h", '{"url":"https://u@x:81/q%20r?a=1&b=2+3#g%20h"}'],
        "url_special_backslash": "http://h/p",
        "url_opaque": ["mailto:someone@example.org", "null", "", "", "", "", "", "someone@example.org", "", ""],
        "params": ["a=1&a=3&b=%C3%A4&z=%26%3D", "1", ["1", "3"], False, 4, [["k", "v"]], [["m", "n"]]],
        "headers": [[["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-b", "1, 3"], ["x-c", "c"]], "1, 3", None, True,
                    ["a=1", "b=2"], ["set-cookie", "set-cookie", "x-b", "x-c"]],
        "headers_bad": ["TypeError"] * 3,
        "request": ["POST", "http://h/p", "text/plain;charset=UTF-8", "b", "text", True, "text", "TypeError"],
        "request_bad": ["TypeError"] * 3,
        "response": [201, "Made", True, "text/plain;charset=UTF-8", 2, "ä"],
        "response_json": [202, "application/json", '{"a":[1,null]}'],
        "response_redirect": [307, "http://h/x", None],
        "response_bodies": ["hi", "a=b+c", "", {"a": 1}, "token"],
        "response_bad": ["TypeError", "RangeError", "SyntaxError", "TypeError", "RangeError"],
        "encoding": [[0x61, 0xC3, 0xA4, 0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98, 0x80], "aä", "a\ufffd", "TypeError", "RangeError"],
        "uuid": [True, True],
        "timeout": ["x", 2],
        "interval": 3,
        "cleared": False,
        "timer_order": [10, 20, 30],
        "microtasks": ["now", "microtask", "then", "timer"],
        "timer_bad": "TypeError",
        "cache": [True, 203, "b", True, "kept", "kept", True, False, True],
        "cache_not_kept": [True] * 4,
        "cache_expires": [True, True],
        "cache_bad": ["TypeError", "TypeError"],
        "env": ["hello", "a=b=c", ["GREETING", "KV", "WITH_EQUALS"]],
        "kv": [{"keys": [{"name": "user:1"}, {"name": "user:2"}], "list_complete": False, "cursor": "user:2"},
               {"keys": [{"name": "user:3"}], "list_complete": True}, "value of user:1", None, [0, 255], {"a": [1]}, 1],
        "kv_expires": ["x", None],
        "kv_bad": ["TypeError"] * 5,
        "fetch_get": [200, True, "yes", True, "plain text"],
        "fetch_post": [["POST", "ééé", "me", "text/plain;charset=UTF-8"], "TypeError"],
        "fetch_redirect": [200, True, "/plain", "plain text"],
        "fetch_redirect_manual": [302, False],
        "fetch_redirect_error": "TypeError",
        "fetch_redirect_loop": "TypeError: fetch: more than 20 redirects",
        "fetch_head": [200, None, ""],
        "fetch_big": [3000000, True],
        "fetch_many": True,
        "globals": ["undefined", "undefined", "undefined", "undefined", "function", "object"],
        "dynamic_import": 42,
        "import_meta": True,
    }

    @classmethod
    def setUpClass(cls):
        cls.worker = Worker("api.js", "--env", "GREETING=hello", "--env", "WITH_EQUALS=a=b=c")

    @classmethod
    def tearDownClass(cls):
        if cls.worker.stop() != 0:
            raise AssertionError(cls.worker.log())

    def test_each_observation_is_what_the_standards_say(self):
        for name, expected in self.EXPECTED.items():
            with self.subTest(name):
                status, _, body = self.worker.request("/" + name)
                self.assertEqual(status, 200, self.worker.log()[-2000:])
                self.assertEqual(json.loads(body), expected)

    def test_a_fetch_that_cannot_be_made_is_a_TypeError_that_names_the_url_and_the_reason(self):
        https, refused, bad, unknown = self.worker.json("/fetch_errors")
        self.assertEqual(https, "TypeError: fetch: https:// is not supported, only http:// (https://example.org/)")
        self.assertRegex(refused, r"^TypeError: fetch failed: http://127\.0\.0\.1:1/: .*Connection refused")
        self.assertEqual([bad, unknown], ["TypeError", "TypeError"])

    def test_module_state_is_shared_by_requests(self):
        first = self.worker.json("/shared_state")
        self.assertEqual(self.worker.json("/shared_state"), first + 1)

    def test_bodies_go_in_and_out_unchanged(self):
        for body in (b"", b"x", bytes(range(256)) * 1000):
            status, headers, answer = self.worker.request("/mirror", "POST", body, {"content-type": "a/b"})
            self.assertEqual((status, answer, headers["content-type"]), (200, body, "a/b"))
        def chunks():
            yield b"one "
            yield b"two"
        self.assertEqual(self.worker.request("/mirror", "POST", chunks())[2], b"one two")

    def test_a_fetched_body_is_passed_on_unread(self):
        self.assertEqual(self.worker.request("/through")[2], bytes(i % 251 for i in range(251)) * 11952 + bytes(i % 251 for i in range(48)))

    def test_statuses_without_a_body_have_none(self):
        for code in (200, 204, 205, 304, 418, 599):
            status, _, body = self.worker.request(f"/status?code={code}")
            self.assertEqual((status, body), (code, b""))

    def test_HEAD_gives_the_headers_of_GET_and_no_body(self):
        status, headers, body = self.worker.request("/plain", "HEAD")
        self.assertEqual((status, headers["x-plain"], headers["content-length"], body), (200, "yes", "10", b""))

    def test_several_cookies_stay_several_headers(self):
        self.assertEqual(self.worker.request("/cookies")[1].get_all("set-cookie"), ["a=1", "b=2"])

    def test_header_values_are_bytes_on_the_wire_and_latin_1_in_scripts(self):
        status, headers, body = self.worker.request("/latin", headers={"x-latin": "café".encode("latin-1")})
        self.assertEqual(body, b"true")
        self.assertEqual(headers["x-latin"], "café")

    def test_requests_follow_each_other_on_one_connection(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.worker.port, timeout=PATIENCE)
        for n in range(5):
            connection.request("POST", "/mirror", body=str(n))
            self.assertEqual(connection.getresponse().read(), str(n).encode())
        connection.close()


class Trouble(unittest.TestCase):
    """Scripts that fail and clients that leave: only their own request suffers."""

    @classmethod
    def setUpClass(cls):
        cls.worker = Worker("trouble.js", "--script-limit", "400")

    @classmethod
    def tearDownClass(cls):
        if cls.worker.stop() != 0:
            raise AssertionError(cls.worker.log())

    def expect_500(self, path, *in_log):
        status, _, body = self.worker.request(path)
        self.assertEqual(status, 500)
        number = re.search(r"stack of request (\d+)", body.decode())[1]
        for pattern in in_log:
            self.worker.wait_for_log(rf"\[request {number}\] error: (?:(?!\n\[)[\s\S])*{pattern}")
        self.assertEqual(self.worker.text("/ok"), "ok")

    def test_a_throwing_script_is_a_500_and_its_stack_is_in_the_log(self):
        self.expect_500("/throw", r"Error: exploded on purpose\n +at explode \(lib/explode\.js:3:9\)\n +at Object\.fetch \(trouble\.js:\d+:\d+\)")
        self.expect_500("/throw-later", r"exploded on purpose", r"at async Object\.fetch|at Object\.fetch")
        self.expect_500("/throw-string", "just a string")

    def test_what_is_no_response_is_a_500_that_says_so(self):
        self.expect_500("/no-response", r"fetch\(\) must return a Response, not 42")
        self.expect_500("/used-body", "already been used")

    def test_an_unhandled_rejection_is_logged_and_does_no_harm(self):
        self.assertEqual(self.worker.text("/reject"), "answered")
        self.worker.wait_for_log(r"\[request \d+\] unhandled rejection: Error: nobody listens\n +at Object\.fetch")
        self.assertEqual(self.worker.text("/handled-late"), "answered")
        self.assertNotIn("handled in time", self.worker.log())

    def test_what_timers_and_microtasks_throw_is_logged_and_does_no_harm(self):
        self.assertEqual(self.worker.text("/timer-throws"), "answered")
        self.worker.wait_for_log(r"\[request \d+\] uncaught in a timer: .*exploded on purpose")
        self.assertEqual(self.worker.text("/microtask-throws"), "answered")
        self.worker.wait_for_log(r"\[request \d+\] uncaught in a microtask: .*exploded on purpose")

    def test_a_script_in_an_endless_loop_is_stopped_and_the_server_lives(self):
        for path in ("/loop", "/loop-later", "/microtask-loop"):
            with self.subTest(path):
                self.expect_500(path, "ran longer than the limit")
        with self.subTest("what it has queued runs in the next request"):
            self.expect_500("/loop-and-microtask", "ran longer than the limit")
            self.assertEqual(self.worker.text("/microtask-throws"), "answered")
            self.assertEqual(self.worker.text("/ok"), "ok")

    def test_a_client_that_leaves_cancels_its_request(self):
        with socket.create_connection(("127.0.0.1", self.worker.port)) as client:
            client.sendall(b"GET /sleep-and-tell?ms=2000 HTTP/1.1\r\nhost: h\r\n\r\n")
            self.worker.request("/ok")  # by now the worker has begun the request
        self.worker.wait_for_log("the client has gone")
        self.worker.request("/sleep?ms=2200")
        self.assertEqual(self.worker.text("/told"), "false")

    def test_a_request_that_never_ends_holds_nobody_up(self):
        with socket.create_connection(("127.0.0.1", self.worker.port)) as client:
            client.sendall(b"GET /never HTTP/1.1\r\nhost: h\r\n\r\n")
            self.assertEqual(self.worker.text("/ok"), "ok")

    def test_waitUntil_goes_on_after_the_response_and_after_the_client(self):
        began = time.monotonic()
        self.assertEqual(self.worker.text("/later?ms=300&say=done"), "answered")
        self.assertLess(time.monotonic() - began, 0.3)
        self.assertEqual(self.worker.text("/late"), "nothing")
        deadline = time.monotonic() + PATIENCE
        while self.worker.text("/late") != "done":
            self.assertLess(time.monotonic(), deadline)
        self.assertEqual(self.worker.text("/later-throws"), "answered")
        self.worker.wait_for_log(r"\[request \d+\] rejected in waitUntil: Error: waited for nothing")

    def test_what_nobody_waits_for_ends_with_its_request(self):
        before = self.worker.text("/late")
        self.assertEqual(self.worker.text("/over?ms=50"), "answered")
        self.worker.request("/sleep?ms=150")
        self.assertEqual(self.worker.text("/late"), before)

    def test_malformed_http_is_a_400(self):
        with socket.create_connection(("127.0.0.1", self.worker.port), timeout=PATIENCE) as client:
            client.sendall(b"this is not http\r\n\r\n")
            self.assertRegex(client.recv(4096), rb"^HTTP/1\.1 (400|501) ")
        self.assertEqual(self.worker.text("/ok"), "ok")

    def test_console_writes_lines_with_the_request_number(self):
        self.worker.request("/log")
        self.worker.wait_for_log(r'\[request \d+\] log: a line \{a: \[1, "two"\], e: undefined\} Map \{1 => \{deep: \{deeper: \{deepest: \{…\}\}\}\}\}\n')
        self.worker.wait_for_log(r"\[request \d+\] error: Error: logged\n +at ")
        self.worker.wait_for_log(r"\[request \d+\] warn: careful\n")
        self.worker.wait_for_log(r"\[request \d+\] info: by the way\n")

    def test_concurrent_requests_do_not_mix(self):
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            answers = list(pool.map(lambda n: self.worker.json(f"/mark?m={n}"), range(400)))
        self.assertEqual(answers, [[str(n)] * 3 for n in range(400)])
        by_request = re.findall(r"\[request (\d+)\] log: mark (\d+)", self.worker.log())
        self.assertEqual(len({request for request, _ in by_request}), 400)


class Ending(unittest.TestCase):
    def test_SIGTERM_and_SIGINT_let_requests_in_flight_finish(self):
        for how in (signal.SIGTERM, signal.SIGINT):
            worker = Worker("trouble.js")
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                answer = pool.submit(worker.text, "/sleep?ms=500")
                while worker.request("/ok")[2] != b"ok":
                    pass
                time.sleep(0.1)
                self.assertEqual(worker.stop(how), 0, worker.log())
                self.assertEqual(answer.result(), "slept")
            self.assertIn("requests in flight: 1", worker.log())

    def test_waitUntil_is_waited_for_when_stopping(self):
        with tempfile.TemporaryDirectory() as folder:
            worker = Worker("trouble.js")
            self.assertEqual(worker.text("/later?ms=400&say=x"), "answered")
            began = time.monotonic()
            self.assertEqual(worker.stop(), 0)
            self.assertGreater(time.monotonic() - began, 0.2)

    def test_after_the_grace_what_is_left_is_cancelled(self):
        worker = Worker("trouble.js", "--grace", "100")
        with socket.create_connection(("127.0.0.1", worker.port)) as client:
            client.sendall(b"GET /never HTTP/1.1\r\nhost: h\r\n\r\n")
            self.assertEqual(worker.text("/ok"), "ok")
            self.assertEqual(worker.stop(), 0, worker.log())
        self.assertIn("cancelled after the grace: 1", worker.log())

    def test_it_stops_while_a_script_loops(self):
        worker = Worker("trouble.js", "--script-limit", "300")
        with socket.create_connection(("127.0.0.1", worker.port)) as client:
            client.sendall(b"GET /loop HTTP/1.1\r\nhost: h\r\n\r\n")
            time.sleep(0.1)
            self.assertEqual(worker.stop(), 0, worker.log())


class Kv(unittest.TestCase):
    def test_values_outlive_the_worker_in_a_real_sqlite_file(self):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "data.sqlite")
            with Worker("trouble.js", "--kv", file) as worker:
                self.assertEqual(worker.text("/kv-put?v=persisted"), "put")
            with Worker("trouble.js", "--kv", file) as worker:
                self.assertEqual(worker.text("/kv-get"), "persisted")
            with sqlite3.connect(file) as database:
                self.assertEqual(database.execute("SELECT key, value FROM kv").fetchall(), [("kept", b"persisted")])
            database.close()

    def test_a_file_that_cannot_be_opened_is_an_error_that_names_it(self):
        code, _, errors = run_to_end("serve", os.path.join(HERE, "scripts/api.js"), "--port", "0", "--kv", "/no/such/folder/x.sqlite")
        self.assertEqual(code, 1)
        self.assertIn("/no/such/folder/x.sqlite", errors)


class Start(unittest.TestCase):
    def refuse(self, script, *patterns):
        code, _, errors = run_to_end("serve", os.path.join(HERE, "scripts", script), "--port", "0")
        self.assertEqual(code, 1)
        for pattern in patterns:
            self.assertRegex(errors, pattern)

    def test_a_malformed_script_is_an_error_with_file_line_and_column(self):
        self.refuse("malformed.js", r"malformed\.js:3:33: SyntaxError: missing \) after argument list", r'fetch\(\) \{ return new Response\("x" \}', r"\n +\^")

    def test_a_missing_import_names_the_file_and_who_imports_it(self):
        self.refuse("missing_import.js", r"cannot read the module lib/no_such_file\.js, imported by missing_import\.js")

    def test_a_script_without_fetch_is_refused(self):
        self.refuse("no_handler.js", r"the script has no fetch\(\)")

    def test_a_script_that_throws_at_its_top_level_is_refused_with_its_stack(self):
        self.refuse("throws_at_top.js", r"TypeError: Cannot read properties of undefined", r"throws_at_top\.js:3:3")

    def test_top_level_await_is_waited_for(self):
        with Worker("top_level_await.js") as worker:
            self.assertEqual(worker.text("/"), "ready")

    def test_a_wrong_command_line_says_what_is_wrong(self):
        script = os.path.join(HERE, "scripts/api.js")
        for arguments, pattern in ((["serve"], "script"), (["serve", "/no/such.js"], "/no/such.js"), ([], "subcommand"),
                                   (["serve", script, "--env", "NOEQUALS"], "KEY=VALUE"), (["serve", script, "--port", "99999"], "port"),
                                   (["serve", script, "--trace-when", "never"], "trace-when")):
            code, out, errors = run_to_end(*arguments)
            self.assertNotEqual(code, 0)
            self.assertRegex(out + errors, pattern)

    def test_help_names_every_option(self):
        code, out, _ = run_to_end("serve", "--help")
        self.assertEqual(code, 0)
        for option in ("--host", "--port", "--kv", "--env", "--trace", "--trace-when", "--script-limit", "--v8-flags", "--grace"):
            self.assertIn(option, out)

    def test_a_port_that_is_taken_is_an_error(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            code, _, errors = run_to_end("serve", os.path.join(HERE, "scripts/api.js"), "--port", str(taken.getsockname()[1]))
            self.assertEqual(code, 1)
            self.assertRegex(errors, "[Aa]ddress already in use")


if __name__ == "__main__":
    unittest.main(verbosity=2)
