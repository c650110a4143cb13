/** Unix sockets at which a process of ours listens. Who may open the file may speak, so it never has another mode than it is to have. */
import { existsSync, lstatSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { RingfenceError } from '../base/errors.ts'

/** `sun_path` has 108 bytes with its closing zero on Linux. */
const socketPathBytesMax = 107

export interface SocketWords {
  /** Such as `the admin socket`. */
  readonly socket: string
  /** What to do where its path is too long. */
  readonly shorter: string
  /** What is so where somebody listens there. */
  readonly inUse: string
}

/** Removes a socket that a killed process left; a live one is left alone. @throws RingfenceError CONFIG */
export async function claimSocket(path: string, { socket, shorter, inUse }: SocketWords): Promise<void> {
  if (Buffer.byteLength(path) > socketPathBytesMax) {
    throw new RingfenceError('CONFIG', `path of ${socket} is longer than ${socketPathBytesMax} bytes`, {
      hint: shorter,
    })
  }
  if (!existsSync(path)) return
  if (!lstatSync(path).isSocket()) throw new RingfenceError('CONFIG', `${path} is in the way and no socket`)
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path)
    probe.on('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.on('error', () => resolve(false))
  })
  if (alive) throw new RingfenceError('CONFIG', inUse)
  rmSync(path, { force: true })
}

/** What `make` makes has `mode` from its first moment. */
export function withMode<T>(mode: number, make: () => T): T {
  const before = process.umask(0o777 & ~mode)
  try {
    return make()
  } finally {
    process.umask(before)
  }
}
