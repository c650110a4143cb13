import { join, relative } from 'node:path'

/** The admin socket of a state folder, by the shorter of its two names: a socket's path is at most 107 bytes long. */
export function controlSocketPath(stateDir: string): string {
  const path = join(stateDir, 'control.sock')
  const short = relative(process.cwd(), path)
  return short.length < path.length ? `./${short}` : path
}
