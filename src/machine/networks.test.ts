import { describe, expect, it } from "vitest";
import { HostError } from "../base/assert.ts";
import { echoRequest, GATEWAY_MAC, ipFrame, readFrame } from "../net/frames.testing.ts";
import { macText } from "../ports/ethernet.ts";
import type { Part } from "../ports/part.ts";
import { Clock } from "../sim/clock.ts";
import { EventQueue } from "../sim/event-queue.ts";
import { Networks } from "./networks.ts";

function make() {
  const parts: Part[] = [];
  const queue = new EventQueue(new Clock());
  const networks = new Networks(queue, {}, part => void parts.push(part));
  let n = 0;
  const connect = (keys: { [key: string]: string } = {}) =>
    networks.connect(`nic ${n++}`, new Map(Object.entries(keys)));
  return { parts, queue, networks, connect };
}

describe("links of network interfaces", () => {
  it("addresses count up from 52:54:00:12:34:56, past those that say their own", () => {
    const { connect } = make();
    const links = [connect(), connect({ mac: "02-00-00-AB-cd-01" }), connect(), connect()];
    expect(links.map(({ mac }) => macText(mac))).toEqual([
      "52:54:00:12:34:56",
      "02:00:00:ab:cd:01",
      "52:54:00:12:34:57",
      "52:54:00:12:34:58",
    ]);
  });
  it("each has a wire and a network of its own, which answers; both are parts of the machine", () => {
    const { parts, queue, connect } = make();
    const seen: [number, string][] = [];
    [0, 1].forEach(index => {
      const { port } = connect();
      port.connect({
        receive: (frame, length) => void seen.push([index, readFrame(frame.slice(0, length)).source]),
        linkChanged: () => {},
      });
      if (index === 0) return;
      const echo = ipFrame(GATEWAY_MAC, "0a 00 02 02", 1, echoRequest("61"));
      port.send(echo, echo.length, 0);
    });
    while (queue.nextDeadline() < 1e9) {
      queue.clock.advanceTo(queue.nextDeadline());
      queue.runDue();
    }
    expect(seen).toEqual([[1, "10.0.2.2"]]);
    expect(parts.map(({ name }) => name)).toEqual(["nic 0 wire", "nic 0 network", "nic 1 wire", "nic 1 network"]);
  });
  it("net=none: a cable that is not plugged in", () => {
    const { parts, connect } = make();
    expect([connect({ net: "none" }).port.linkUp, connect({ net: "user" }).port.linkUp]).toEqual([false, true]);
    expect(parts).toHaveLength(3);
  });
  it("speed and MTU as they are asked for", () => {
    const { port, mtu } = make().connect({ speed: "2500", mtu: "9000" });
    expect([port.megabits, mtu]).toEqual([2500, 9000]);
    expect(make().connect().mtu).toBeUndefined();
  });
  it("what makes no sense is the user's mistake", () => {
    const wrong = ["mac=1", "mac=01:00:00:00:00:01", "mac=00:00:00:00:00:00", "net=tap"];
    for (const text of [...wrong, "mtu=67", "mtu=9001", "speed=0", "speed=1e3"]) {
      const [key, value] = text.split("=") as [string, string];
      const attempt = () => make().connect({ [key]: value });
      expect(attempt).toThrow(HostError);
      expect(attempt).toThrow(`device nic 0: ${text} is `);
    }
  });
});
