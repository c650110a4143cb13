/**
 * `people` is a person's side: it logs in at an identity provider, keeps what came of it, and lets tools in as that person.
 *
 * The rule one must not break: a token is in its file, in memory, and on the way to its provider or to a door that was verified; it is in no
 * argument, no log, no error, no output, and not in the environment of a child.
 *
 * This file: folders and files that only their owner may read. What others may read or change is refused when it is read, with the remedy.
 */
import { closeSync, constants, fstatSync, mkdirSync, openSync, readFileSync, type Stats, statSync } from 'node:fs'
import { RingfenceError } from '../base/errors.ts'
import { writeFileAtomically } from '../mesh/files.ts'

/** Bits of group and others; an access control list shows in those of the group. */
const othersMode = 0o077
/** A profile with two lists of roots is far below it. */
const fileBytesMax = 4 * 1024 * 1024

/** The folder, which is made where it is not there. @throws RingfenceError CONFIG */
export function makeOwnFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  checkOwnFolder(path)
}

/** @throws RingfenceError CONFIG; nothing where there is no such folder */
export function checkOwnFolder(path: string): void {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (stats === undefined) return
  if (!stats.isDirectory()) throw new RingfenceError('CONFIG', `${path} is not a folder`)
  checkOwner(path, stats, '700')
}

/** `undefined` where there is no such file. What is checked is what is read, so that nothing is exchanged between the two. @throws RingfenceError CONFIG */
export function readOwnFile(path: string): string | undefined {
  let file: number
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (reason) {
    const { code, message } = reason as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    throw new RingfenceError('CONFIG', `${path} cannot be read: ${message}`, {
      hint: code === 'ELOOP' ? 'it must be a file, not a link to one' : 'is it yours',
    })
  }
  try {
    const stats = fstatSync(file)
    if (!stats.isFile()) throw new RingfenceError('CONFIG', `${path} is not a file`)
    checkOwner(path, stats, '600')
    if (stats.size > fileBytesMax) throw new RingfenceError('CONFIG', `${path} is longer than ${fileBytesMax} bytes`)
    return readFileSync(file, 'utf8')
  } finally {
    closeSync(file)
  }
}

export function writeOwnFile(path: string, text: string): void {
  writeFileAtomically(path, text, 0o600)
}

function checkOwner(path: string, { uid, mode }: Stats, wanted: string): void {
  const own = process.getuid?.()
  // Where there are no owners and modes, there is nothing to look at.
  if (own === undefined) return
  if (uid !== own) {
    throw new RingfenceError('CONFIG', `${path} belongs to another user (${uid}, you are ${own})`, {
      hint: 'remove it, or name another folder with RINGFENCE_CONFIG_DIR; then ringfence login',
    })
  }
  if ((mode & othersMode) !== 0) {
    const shown = (mode & 0o777).toString(8)
    throw new RingfenceError('CONFIG', `others may use ${path} (mode ${shown}), so what is in it is not used`, {
      hint: `chmod ${wanted} ${path}; if others use this machine, then ringfence login`,
    })
  }
}
