/** Runs the program of a driver over its cases, once for each door, and reads what it says. */
import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { ProgramSources } from '../drivers/own-program.ts'
import type { Program } from '../drivers/toolchain.ts'
import type { Shown } from './proofs.ts'

export const sources: ProgramSources = { folder: join(import.meta.dirname, 'programs'), javaClass: 'LogIns' }

/** Of a busy machine; a quarter of it is usual. */
const programMsMax = 240_000

export interface Target {
  readonly host: string
  readonly port: number
  readonly dataCenter: string
  readonly caFile: string
  readonly permitted: string
  readonly forbidden: string
}

/** `seconds`: since the program was started. */
export type Said = { readonly seconds: number } & (
  | { readonly kind: 'in'; readonly value: string; readonly denial: string }
  | { readonly kind: 'refused' | 'failed'; readonly words: string }
)

/** @param folder for files; they hold evidence, and are the caller's to remove */
export async function runCases(
  { command, args, env: own }: Program,
  target: Target,
  shown: ReadonlyMap<string, Shown>,
  folder: string,
  signal?: AbortSignal,
): Promise<{ readonly said: ReadonlyMap<string, Said>; readonly errors: string }> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const cases = join(folder, 'cases')
  const lines = [...shown].map(([name, one], index) => [
    ...[name, one.user, one.password],
    ...[...filesOf(one, index, folder), one.behalf ?? ''],
  ])
  writeFileSync(cases, lines.map((line) => `${line.join('\t')}\n`).join(''), { mode: 0o600 })
  const child = spawn(command, args, {
    env: {
      ...process.env,
      ...own,
      RF_CASES: cases,
      RF_HOST: target.host,
      RF_PORT: String(target.port),
      RF_DC: target.dataCenter,
      RF_CA: target.caFile,
      RF_PERMITTED: target.permitted,
      RF_FORBIDDEN: target.forbidden,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: programMsMax,
    killSignal: 'SIGKILL',
    ...(signal === undefined ? {} : { signal }),
  })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4000)
  })
  const said = new Map<string, Said>()
  const startedMs = performance.now()
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [name = '', kind, words = '', denial = ''] = line.split('\t')
    const seconds = (performance.now() - startedMs) / 1000
    if (kind === 'in') said.set(name, { kind, value: words, denial, seconds })
    else if (kind === 'refused' || kind === 'failed') said.set(name, { kind, words, seconds })
  })
  await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  return { said, errors }
}

function filesOf({ certificate }: Shown, index: number, folder: string): readonly [string, string] {
  if (certificate === undefined) return ['', '']
  const [certFile, keyFile] = [join(folder, `${index}.pem`), join(folder, `${index}-key.pem`)]
  writeFileSync(certFile, certificate.certificatePem)
  writeFileSync(keyFile, certificate.keyPem, { mode: 0o600 })
  return [certFile, keyFile]
}
