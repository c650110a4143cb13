/** How people write durations, addresses and secrets, in flags and in the environment. Flags win over the environment. */
import { readFileSync } from 'node:fs'
import { InvalidArgumentError, Option } from 'commander'
import { RingfenceError } from '../base/errors.ts'

const unitMs = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
])

/** `90s`, `5m`, `1h30m`, `7d`; milliseconds. */
export function parseDuration(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)]
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) {
    throw new InvalidArgumentError('a duration is written 90s, 5m, 1h or 7d')
  }
  return parts.reduce((total, [, count, unit]) => total + Number(count) * unitMs.get(unit ?? '')!, 0)
}

/** As `parseDuration`, within bounds that are said in `words`. */
export function durationWithin(minMs: number, maxMs: number, words: string): (text: string) => number {
  return (text) => {
    const ms = parseDuration(text)
    if (ms < minMs || ms > maxMs) throw new InvalidArgumentError(`it is to be ${words}`)
    return ms
  }
}

/** A value that `parse` reads; what that throws is told with the flag's name, and with all other faults of the line. */
export function readBy<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text)
    } catch (reason) {
      if (!(reason instanceof RingfenceError)) throw reason
      throw new InvalidArgumentError(reason.hint === undefined ? reason.message : `${reason.message}; ${reason.hint}`)
    }
  }
}

/** The control plane's, as text. */
export function parseHttpsUrl(text: string): string {
  if (URL.parse(text)?.protocol !== 'https:')
    throw new InvalidArgumentError('an address is written https://10.0.0.5:8443')
  return text
}

export interface HostPort {
  readonly address: string
  readonly port: number
}

/** `127.0.0.1:8443`, `[::1]:8443`, `host:8443`; port 0 takes a free one. */
export function parseHostPort(text: string): HostPort {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  const address = match?.[1] ?? match?.[2]
  if (address === undefined || port > 65_535)
    throw new InvalidArgumentError('an address is written 127.0.0.1:8443 or [::1]:8443')
  return { address, port }
}

export function formatHostPort({ address, port }: HostPort): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

export function collect<T>(parse: (text: string) => T): (text: string, before: readonly T[] | undefined) => T[] {
  return (text, before) => [...(before ?? []), parse(text)]
}

/** A flag that RINGFENCE_<COMPONENT>_<SETTING> stands in for. */
export function setting(component: string, flags: string, description: string): Option {
  const option = new Option(flags, description)
  const name = `${component}_${option.name()}`.replaceAll('-', '_').toUpperCase()
  return option.env(`RINGFENCE_${name}`)
}

/** A flag whose value is a duration; the default is shown as it is written. */
export function durationOption(flags: string, description: string, defaultText?: string): Option {
  const option = new Option(flags, description).argParser(parseDuration)
  return defaultText === undefined ? option : option.default(parseDuration(defaultText), defaultText)
}

/** A flag whose value is a whole number of at least 1. */
export function countOption(flags: string, description: string, defaultCount?: number): Option {
  const option = new Option(flags, description).argParser(parseCount)
  return defaultCount === undefined ? option : option.default(defaultCount)
}

export function parseCount(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new InvalidArgumentError('a whole number of at least 1 is expected')
  return Number(text)
}

/** A secret by flag, by RINGFENCE_<COMPONENT>_TOKEN, or in the file that RINGFENCE_<COMPONENT>_TOKEN_FILE names. */
export function tokenOf(component: string, flag: string | undefined): string | undefined {
  const name = `RINGFENCE_${component.toUpperCase()}_TOKEN`
  const file = process.env[`${name}_FILE`]
  const read = (path: string): string => readInput(path, `the token file of ${name}_FILE`)
  const token = flag ?? process.env[name] ?? (file === undefined || file === '' ? undefined : read(file))
  // No process that is started from here has it.
  delete process.env[name]
  return token === undefined || token.trim() === '' ? undefined : token.trim()
}

/** A file, or standard input for `-`. `what` says which setting names it. @throws UnreadableInput */
export function readInput(file: string, what?: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const { why, hint } = unreadable.get(code) ?? { why: message, hint: 'name a file that can be read' }
    throw new UnreadableInput(`${what === undefined ? '' : `${what}: `}${file} cannot be read: ${why}`, { hint })
  }
}

/** By the system's code. */
const unreadable: ReadonlyMap<string | undefined, { readonly why: string; readonly hint: string }> = new Map([
  [
    'ENOENT',
    { why: 'there is no such file', hint: 'look at its name; a relative one is of the folder that you are in' },
  ],
  ['ENOTDIR', { why: 'a part of its path is no folder', hint: 'look at its name' }],
  ['EACCES', { why: 'this user may not read it', hint: 'let this user read it, or run as one who may' }],
  ['EISDIR', { why: 'it is a folder', hint: 'name a file in it' }],
])

/** Exit code 65: the input is not what it should be (sysexits.h). */
export class UnreadableInput extends RingfenceError {
  constructor(message: string, options: { hint?: string } = {}) {
    super('USAGE', message, options)
  }
}
