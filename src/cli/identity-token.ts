/** Where `ringfence agent` has the token from that it exchanges: a file that others renew, or what a command prints. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { TokenSource } from '../agent/exchange.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { readInput } from './options.ts'

const commandMsMax = 30_000

export interface IdentityTokenFlags {
  readonly identityTokenFile?: string
  readonly identityTokenCommand?: string
  readonly trustBundle?: string
}

/** Undefined where no such flag is given. @throws RingfenceError USAGE */
export function tokenSourceOf(flags: IdentityTokenFlags): TokenSource | undefined {
  const { identityTokenFile: file, identityTokenCommand: command, trustBundle } = flags
  if (file === undefined && command === undefined) {
    if (trustBundle === undefined) return undefined
    throw new RingfenceError('USAGE', '--trust-bundle is for --identity-token-file and --identity-token-command')
  }
  if (file !== undefined && command !== undefined)
    throw new RingfenceError('USAGE', '--identity-token-file and --identity-token-command exclude each other')
  if (trustBundle === undefined) {
    throw new RingfenceError('USAGE', 'a token is shown to the control plane of these roots only: --trust-bundle', {
      hint: 'ringfence bundle show > bundle.pem, on the host of the control plane',
    })
  }
  return {
    token: async () =>
      checked(file === undefined ? await printedBy(command ?? '') : readInput(file, '--identity-token-file')),
    trustBundlePem: () => readInput(trustBundle, '--trust-bundle'),
  }
}

function checked(text: string): string {
  const token = text.trim()
  if (token === '') throw new RingfenceError('UNAVAILABLE', 'there is no token yet: what was read is empty')
  if (token.length > limits.authMessageBytesMax)
    throw new RingfenceError('IDENTITY', `the token is longer than authMessageBytesMax (${limits.authMessageBytesMax})`)
  return token
}

/** What it says of itself is shown; what it prints is a secret. */
async function printedBy(command: string): Promise<string> {
  const options = { timeout: commandMsMax, maxBuffer: 2 * limits.authMessageBytesMax }
  const running = promisify(execFile)('/bin/sh', ['-c', command], options)
  running.child.stderr?.pipe(process.stderr)
  try {
    return (await running).stdout
  } catch (reason) {
    const { code, killed } = reason as { code?: number | string | null; killed?: boolean }
    const how = killed === true ? 'was ended, for it took too long or printed too much' : `ended with ${code}`
    throw new RingfenceError('UNAVAILABLE', `the command of --identity-token-command ${how}`)
  }
}
