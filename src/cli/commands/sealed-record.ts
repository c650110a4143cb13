/** `audit verify`, `audit proof`, `audit lines`: the sealed record, checked and read where it lies. No control plane is asked. */
import { readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError } from 'commander'
import { SealedLines } from '../../audit/sealed/lines.ts'
import type { NoteKey } from '../../audit/sealed/note.ts'
import { parseNoteKey } from '../../audit/sealed/note.ts'
import { proofOf } from '../../audit/sealed/proof.ts'
import { segmentsOf } from '../../audit/sealed/recover.ts'
import { type Verified, verifyLog } from '../../audit/sealed/verify.ts'
import { RingfenceError } from '../../base/errors.ts'
import type { WitnessedLog } from '../../mesh/witness.ts'
import { AdminClient } from '../admin-client.ts'
import { collect, readBy, readInput, UnreadableInput } from '../options.ts'
import { exitCode, type Format, paint, print, printable, printJson, table } from '../output.ts'
import { writeProof } from '../record/written-proof.ts'
import { type AdminFlags, adminCommand, byOf, withOutput } from './admin-command.ts'

interface VerifyFlags {
  readonly output: Format
  readonly key?: NoteKey
  readonly known?: string[]
  readonly ca?: string
}

export function addSealedRecord(audit: Command): void {
  withOutput(audit.command('verify').description('check that a sealed record is what was signed'))
    .argument('<dir>', 'the folder of a sidecar’s audit')
    .option('--key <key>', 'of the log, as you know it; by default the one that the log names', readBy(parseNoteKey))
    .option('--known <file>', 'a checkpoint of this log from elsewhere; may be repeated', collect(String))
    .option('--ca <file>', 'the mesh’s roots: a certificate of the log’s own sidecar has to vouch for its key')
    .addHelpText(
      'after',
      `
Finds what was edited, deleted, inserted, put in another order, cut off, or taken from another log, and says where. That the whole folder was
put back to an older state, or rewritten by who has the log's key, is found by a checkpoint from elsewhere only: give it by --known. Without
--ca or --key the log says itself whose it is. A sidecar may be writing it meanwhile.

Ends with 0 where all is as it was signed, 2 where it is not, 65 for a folder that cannot be read.`,
    )
    .action(verify)
  audit
    .command('proof')
    .description('write the proof that one record is in the log, for who has neither the log nor this program')
    .argument('<seq>', 'number of the record: its seq', parseNumber)
    .requiredOption('--dir <dir>', 'the folder of a sidecar’s audit')
    .option(
      '--out <name>',
      'writes <name>.tlog-proof and <name>.block; where a later block says what became of it, <name>.outcome.*',
      'record',
    )
    .action(proof)
  adminCommand(audit, 'witnessed', 'what the control plane, as witness, has seen of each sidecar’s log')
    .option(
      '--checkpoint <log>',
      'print the last checkpoint of that log, by its sidecar’s name or its origin, for verify --known',
    )
    .option(
      '--forget <origin>',
      'take whatever this sidecar shows next as a log of its own; the control plane’s log says so',
    )
    .option('--by <name>', 'who does it; the user who runs this by default')
    .action(witnessed)
  audit
    .command('lines')
    .description('print a sealed record as lines of JSON')
    .argument('<dir>', 'the folder of a sidecar’s audit')
    .action(lines)
}

function parseNumber(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError('a record has a number above 0')
  return Number(text)
}

function verify(directory: string, flags: VerifyFlags): void {
  const known = (flags.known ?? []).map((file) => readInput(file))
  const bundlePem = flags.ca === undefined ? undefined : readInput(flags.ca)
  const verified = reading(directory, () => verifyLog(directory, { key: flags.key, known, bundlePem }))
  if (flags.output === 'json') printJson(verified)
  else print(verifiedText(verified, bundlePem !== undefined))
  process.exitCode = verified.findings.length === 0 ? exitCode.ok : exitCode.denied
}

function verifiedText(verified: Verified, isCertifiedAsked: boolean): string {
  const { key, records, blocks, segments, signed, unsealed, lastMs, findings, notes, certified } = verified
  const whose = certified === undefined ? 'nobody that --ca vouches for' : certified.spiffeId
  return [
    printable(`log of ${key}`),
    ...(isCertifiedAsked ? [printable(`its key is certified for ${whose}`)] : []),
    `${records} records in ${blocks} blocks, ${segments} segments, up to ${new Date(lastMs).toISOString()}`,
    `${signed} blocks are signed, ${unsealed} records are not sealed yet`,
    ...notes.map((note) => paint(printable(`note: ${note}`), 'yellow')),
    ...findings.map((finding) => paint(printable(`found: ${finding}`), 'red')),
    findings.length === 0 ? paint('nothing was tampered with', 'green') : paint(`${findings.length} findings`, 'red'),
  ].join('\n')
}

function proof(number: number, { dir, out }: { readonly dir: string; readonly out: string }): void {
  const [has, ...words] = writeProof(
    out,
    reading(dir, () => proofOf(dir, number)),
  )
  print([`record ${number} is in ${has}`, ...words].map((line) => printable(line)).join('\n'))
}

interface WitnessedFlags extends AdminFlags {
  readonly checkpoint?: string
  readonly forget?: string
  readonly by?: string
}

async function witnessed(flags: WitnessedFlags): Promise<void> {
  const client = new AdminClient(flags.stateDir)
  if (flags.forget !== undefined) {
    const { size } = await client.forgetWitnessed({ origin: flags.forget, by: byOf(flags) })
    print(printable(`forgotten: ${flags.forget}, ${size} blocks`))
    return
  }
  const { witness, logs } = await client.witnessed()
  if (flags.checkpoint !== undefined) process.stdout.write(logNamed(logs, flags.checkpoint).checkpoint)
  else if (flags.output === 'json') printJson({ witness, logs })
  else {
    const rows = logs.map(({ origin, size, atMs }) => [origin, String(size), new Date(atMs).toISOString()])
    print(printable(`witness ${witness}`))
    print(table(['LOG', 'BLOCKS', 'LAST SEEN'], rows, [1]))
  }
}

/** @throws RingfenceError INVALID where there is none, or more than one that the name may mean */
function logNamed(logs: readonly WitnessedLog[], name: string): WitnessedLog {
  const found = logs.filter(({ origin }) => origin === name || origin.endsWith(`/${name}`))
  const [log, another] = found
  if (log === undefined) throw new RingfenceError('INVALID', `no log of ${name} was witnessed`)
  if (another !== undefined)
    throw new RingfenceError('INVALID', `${name} may be ${found.map(({ origin }) => origin).join(' or ')}`)
  return log
}

function lines(directory: string): void {
  reading(directory, () => {
    const sealed = new SealedLines((line) => process.stdout.write(`${printable(line)}\n`))
    for (const path of segmentsOf(directory)) sealed.segment(readFileSync(path))
    sealed.end()
  })
}

function reading<T>(directory: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (!(cause instanceof Error && 'syscall' in cause)) throw cause
    throw new UnreadableInput(`${directory} cannot be read: ${cause.message}`)
  }
}
