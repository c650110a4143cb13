/** What the fuzzers of bytes have in common: numbers that a seed repeats, and ways to damage a message. */

/** A whole number from 0, below the one that is given. */
export type Random = (below: number) => number

/** A small generator of numbers that a seed repeats (mulberry32). */
export function randomOf(seed: number): Random {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

const interesting = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff]

/** How many ways `damaged` has. */
export const damages = 5

/** The bytes with one fault at `at`. They may be changed in place. */
export function damaged(bytes: Buffer<ArrayBuffer>, at: number, way: number, random: Random): Buffer<ArrayBuffer> {
  const any = (): number => interesting[random(interesting.length)]!
  switch (way) {
    case 0:
      bytes[at]! ^= 1 << random(8)
      return bytes
    case 1:
      bytes[at] = any()
      return bytes
    case 2:
      for (let i = at; i < Math.min(at + 4, bytes.length); i++) bytes[i] = any()
      return bytes
    case 3:
      return bytes.subarray(0, at)
    default:
      return Buffer.concat([bytes.subarray(0, at), Buffer.alloc(1 + random(8), random(256)), bytes.subarray(at)])
  }
}
