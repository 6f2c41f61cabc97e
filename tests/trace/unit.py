"""Unit tests of what reads strace and tcpdump, and of what draws. Run by tests/tools/pictures.bats.

usage, in this directory: python3 -B -m unittest unit
"""
import io
import struct
import unittest
import xml.dom.minidom

import build
import events
import rows
import svg
import terminal
import text

RECV = ('10.000000 recvfrom(4<socket:[77]>, "a\\n\\344\\275\\240", 16384, 0, NULL, NULL)'
        ' = 5 <0.000100>')
ACCEPT = ('9.0 accept4(3<socket:[76]>, {sa_family=AF_INET, sin_port=htons(40000), '
          'sin_addr=inet_addr("127.0.0.1")}, [128 => 16], SOCK_CLOEXEC) = 4<socket:[77]> <0.5>')


class Strace(unittest.TestCase):
    """events.parse_call"""

    def test_bytes_are_unescaped(self):
        call = events.parse_call(RECV, "server")
        self.assertEqual((call.name, call.fd, call.inode, call.result), ("recv", 4, 77, 5))
        self.assertEqual(call.data, "a\n你".encode())
        self.assertAlmostEqual(call.end, 10.0001)

    def test_accept_tells_the_peer(self):
        call = events.parse_call(ACCEPT, "server")
        self.assertEqual((call.fd, call.inode, call.result, call.peer), (3, 77, 4, 40000))

    def test_a_call_that_has_not_returned(self):
        call = events.parse_call("1.5 accept4(3<socket:[76]>, ", "server")
        self.assertEqual((call.name, call.fd, call.end), ("accept", 3, None))

    def test_an_error(self):
        call = events.parse_call("1.5 recvfrom(4<socket:[7]>, 0x7ffd, 9, 0, NULL, NULL) "
                                 "= -1 EAGAIN (Resource temporarily unavailable) <0.000001>", "s")
        self.assertEqual(text.result_text(call), "EAGAIN")
        self.assertIsNone(call.data)

    def test_what_is_no_call(self):
        for line in ("", "+++ exited with 0 +++", "1.5 --- SIGTERM {si_signo=SIGTERM} ---"):
            self.assertIsNone(events.parse_call(line, "server"))

    def test_a_parenthesis_in_the_bytes(self):
        line = '1.5 sendto(4<socket:[7]>, ") = 3 <0.1>", 11, 0, NULL, 0) = 11 <0.000002>'
        self.assertEqual(events.parse_call(line, "s").data, b") = 3 <0.1>")

    def test_sockets_of_the_library_are_not_shown(self):
        lines = ['1.0 socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = 5<socket:[1]> <0.1>',
                 '2.0 socket(AF_INET, SOCK_STREAM, IPPROTO_IP) = 6<socket:[2]> <0.1>']
        calls = build.read_calls("\n".join(lines), "client")
        shown = build.shown_calls(calls, events.protocols(calls), [(5, 0), (6, 0)], None)
        self.assertEqual([call.result for call in shown], [6])

    def test_how_many_bytes_a_program_asked_to_send(self):
        for line in ('sendto(4<socket:[7]>, "\\0\\377"..., 70000, 0, NULL, 0) = -1 EAGAIN () <0.1>',
                     'sendmsg(4<socket:[7]>, {msg_iov=[{iov_base="\\0"..., iov_len=69000}, '
                     '{iov_base="\\", 5", iov_len=1000}], msg_iovlen=2}, 0'):
            call = events.parse_call("1.5 " + line, "s")
            self.assertEqual(text.call_text(call), f"{call.name}(4, 70000 bytes)")

    def test_what_comes_after_the_last_call_of_a_scene(self):
        calls = [events.Call("server", time, name=name)
                 for time, name in ((1, "close"), (2, "recv"), (3, "close"), (4, "epoll_wait"))]
        calls.append(events.Call("client", 5, name="close"))
        kept = build.until_last(calls, "server", "close")
        self.assertEqual([call.start for call in kept], [1, 2, 3, 5])


def tcp(flags, data=b"", seq=1):
    """An IPv4 packet with a TCP segment in it, from port 40000 to 9001."""
    segment = struct.pack("!HHIIBBHHH", 40000, 9001, seq, 0, 5 << 4, flags, 0, 0, 0) + data
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0,
                       b"\x7f\0\0\1", b"\x7f\0\0\1") + segment


def pcap(*packets):
    """A file of tcpdump on an Ethernet-like interface."""
    file = struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1)
    for number, packet in enumerate(packets):
        frame = b"\0" * 12 + b"\x08\0" + packet
        file += struct.pack("<IIII", 10, number, len(frame), len(frame)) + frame
    return file


class Pcap(unittest.TestCase):
    """events.parse_pcap"""

    def test_segments(self):
        found = events.parse_pcap(pcap(tcp(2), tcp(24, b"hello"), tcp(16)))
        self.assertEqual([s.flags for s in found], ["SYN", "PSH ACK", "ACK"])
        self.assertEqual([text.segment_text(s) for s in found], ["SYN", '"hello"', "ACK"])
        self.assertEqual([s.is_ack for s in found], [False, False, True])
        self.assertAlmostEqual(found[1].time, 10.000001)

    def test_an_end_that_is_missing(self):
        self.assertEqual(len(events.parse_pcap(pcap(tcp(2), tcp(16))[:-1])), 1)
        self.assertEqual(events.parse_pcap(b""), [])

    def test_a_datagram(self):
        packet = tcp(0)
        datagram = struct.pack("!HHHH", 40000, 9002, 13, 0) + b"hello"
        header = packet[:2] + struct.pack("!H", 33) + packet[4:9] + b"\x11" + packet[10:20]
        found, = events.parse_pcap(pcap(header + datagram))
        self.assertEqual((found.flags, found.data, found.is_ack), ("", b"hello", False))


class Repeated(unittest.TestCase):
    """build.name_repeated"""

    def test_what_tcp_sends_again(self):
        end = 2**32 - 3
        found = events.parse_pcap(pcap(tcp(2, seq=end - 1), tcp(24, b"hello", end), tcp(16, seq=2),
                                       tcp(24, b"hello", end), tcp(24, b"lo, you", 0),
                                       tcp(17, seq=7), tcp(17, seq=7)))
        build.mark_repeated(found)
        self.assertEqual([s.repeated for s in found],
                         [False, False, False, True, False, False, True])


class Tls(unittest.TestCase):
    """events.Records"""

    def test_records_across_segments(self):
        hello = b"\x16\x03\x01\x00\x05" + b"\x01\x00\x00\x01x"
        data = b"\x17\x03\x03\x00\x02ab"
        records = events.Records()
        self.assertEqual(records.add(hello[:7]), [])
        self.assertEqual(records.add(hello[7:] + data), ["ClientHello", "ApplicationData"])

    def test_an_encrypted_handshake_message(self):
        self.assertEqual(events.Records().add(b"\x16\x03\x03\x00\x04\xff\xff\xff\xff"),
                         ["encrypted"])


def small_trace():
    """A client that sends, a server that waits for it."""
    trace = events.Trace("Title <1>", "About & more", ["client"], ["server"])
    trace.events = [
        events.Call("server", 1.0, 1.4003, "recv", 4, 5, data=b"hello", protocol="TCP"),
        events.Call("client", 1.4, 1.4001, "send", 3, 5, data=b"hello", protocol="TCP"),
        events.Segment(1.40005, 40000, 9001, "PSH ACK", b"hello", lanes=("client", "server")),
        events.Segment(1.40006, 9001, 40000, "ACK", lanes=("server", "client")),
        events.Call("server", 1.6, None, "recv", 4, protocol="TCP"),
    ]
    return trace


class Picture(unittest.TestCase):
    """rows, terminal, svg, text"""

    def test_the_text_form(self):
        self.assertEqual(text.compared(small_trace()).splitlines(), [
            "Title <1>", "", "client", '  send(3, "hello") = 5', "", "server",
            '  recv(4) = 5 "hello"', "  recv(4) (waits)", "", "client -> server", '  "hello"'])

    def test_a_cause_and_its_effect_share_a_row(self):
        made = rows.make_rows(small_trace(), acks=False)
        kinds = [(bool(r.left), bool(r.segment), r.right.kind if r.right else "") for r in made
                 if not r.gap]
        self.assertEqual(kinds, [(False, False, "start"), (True, True, "return"),
                                 (False, False, "start")])
        self.assertEqual(made[0].waiting, set())

    def test_a_terminal(self):
        trace = small_trace()
        trace.events[0].start = 0.4
        trace.events.append(events.Call("client", 0.5, 0.5001, "socket", result=3))
        lines = list(terminal.Screen(trace, io.StringIO(), 90).lines())
        self.assertTrue(any('send(3, "hello") = 5 | --' in line for line in lines), lines)
        self.assertTrue(any('900 ms' in line for line in lines), lines)
        self.assertTrue(all(len(line) <= 90 for line in lines), lines)
        self.assertNotIn("\033", "".join(lines))

    def test_an_svg(self):
        picture = svg.draw(small_trace())
        root = xml.dom.minidom.parseString(picture).documentElement
        self.assertEqual(root.getAttribute("role"), "img")
        self.assertEqual(root.getElementsByTagName("title")[0].firstChild.data, "Title <1>")
        self.assertEqual(root.getElementsByTagName("desc")[0].firstChild.data, "About & more")
        self.assertIn("prefers-color-scheme", picture)

    def test_wrap(self):
        self.assertEqual(svg.wrap("a bb ccc", 4), ["a bb", "ccc"])
        self.assertEqual(svg.wrap("abcdef", 4), ["abcd", "ef"])

    def test_quote(self):
        self.assertEqual(text.quote(b'a"\\\n', 60, 4), '"a\\"\\\\\\n"')
        self.assertEqual(text.quote(b"\xff", 60, 1), "1 byte")
        self.assertEqual(text.quote("\x9b31m".encode(), 60, 5), "5 bytes")  # a terminal obeys it
        self.assertEqual(text.quote("你好".encode(), 3, 6), '"你…"')
        self.assertEqual(text.quote(b"x" * 100_000, 3, 100_000), '"xx…"')

    def test_a_call_shares_no_row_with_a_segment_that_it_did_not_cause(self):
        for name, rows_made in (("send", 1), ("shutdown", 1), ("epoll_wait", 2), ("recvmsg", 2)):
            trace = events.Trace("", "", ["client"], ["server"])
            trace.events = [
                events.Call("client", 1.0, 1.0001, name, 3, 0),
                events.Segment(1.00005, 40000, 9001, "FIN ACK", lanes=("client", "server"))]
            self.assertEqual(len(rows.make_rows(trace)), rows_made, name)

    def test_many_rows(self):
        trace = small_trace()
        trace.events = [events.Call("client", n / 1000, n / 1000, "send", 3, 5, protocol="TCP")
                        for n in range(1, 1502)]
        lines = list(terminal.Screen(trace, io.StringIO(), 90).lines())
        self.assertEqual(len(lines), 1006)
        self.assertIn("... and 501 rows more", lines)


class Lanes(unittest.TestCase):
    """build.split_lanes, build.place"""

    def test_a_program_that_does_nothing_has_a_lane(self):
        self.assertEqual(build.split_lanes("client", [], [[]]), {"client": []})
        self.assertEqual(build.split_lanes("client", [], []), {})

    def test_the_lanes_of_threads(self):
        def threads(*starts):
            return [[events.Call("", start)] if start else [] for start in starts]
        self.assertEqual(list(build.split_lanes("server", [], threads(1, 0, 3, 2))),
                         ["server", "server 2", "server 3"])
        self.assertEqual(list(build.split_lanes("server", ["acceptor"], threads(0, 1, 2))),
                         ["acceptor", "server 2"])

    def test_whose_a_port_is(self):
        segment, = events.parse_pcap(pcap(tcp(2)))  # at 10 seconds
        late = events.Call("late", 9.9, 9.99, "connect", latest=10.1)
        sure = events.Call("sure", 9.9, 10.01, "connect", latest=10.1)
        gone = events.Call("gone", 9.8, 9.9, "connect", latest=9.95)
        lanes = ["gone", "late", "sure"]
        for calls, owner in (([gone, late, sure], "sure"), ([gone, late], "late")):
            self.assertEqual(build.port_owners(calls, [segment], lanes, {9001}), {40000: owner})
        self.assertEqual(build.port_owners([gone], [segment], lanes, {9001}), {})

    def test_a_client_of_tcp_and_a_server_of_udp(self):
        trace = events.Trace("", "", ["client"], ["server"])
        call = events.Call("client", 9, 11, "connect", 3, error="ECONNREFUSED")
        segment, = events.parse_pcap(pcap(tcp(2)))
        kept, = build.place([segment], [call], trace, {9001})
        self.assertEqual(kept.lanes, ("client", "server"))


if __name__ == "__main__":
    unittest.main()
