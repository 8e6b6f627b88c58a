// SPDX-License-Identifier: GPL-3.0-or-later
// Makes a small PNG that stands for a rendered frame: a horizon whose light moves with the number.
// Only for the fake farm; nothing here is a thumbnail of anything.
import { crc32, deflateSync } from "node:zlib";

const WIDTH = 192;
const HEIGHT = 108;

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const frame = Buffer.alloc(8 + data.length + 4);
  frame.writeUInt32BE(data.length, 0);
  body.copy(frame, 4);
  frame.writeUInt32BE(crc32(body), 8 + data.length);
  return frame;
}

export function gradient(number) {
  const rows = Buffer.alloc((WIDTH * 3 + 1) * HEIGHT);
  const sunX = (number * 7) % WIDTH;
  const sunY = 30 + 18 * Math.sin(number / 9);
  let at = 0;
  for (let y = 0; y < HEIGHT; y += 1) {
    rows[at++] = 0;
    for (let x = 0; x < WIDTH; x += 1) {
      const glow = 170 / (1 + Math.hypot(x - sunX, y - sunY) / 9);
      const ground = y > 70 + 4 * Math.sin((x + number * 3) / 14) ? 0.45 : 1;
      rows[at++] = Math.min(255, (24 + y * 0.7 + glow * 1.2) * ground);
      rows[at++] = Math.min(255, (30 + y * 0.35 + glow * 0.8) * ground);
      rows[at++] = Math.min(255, (58 + y * 0.25 + glow * 0.35) * ground);
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(WIDTH, 0);
  header.writeUInt32BE(HEIGHT, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}
