/**
 * `ca detach`, `sign` and `import`, and `ca prepare issuing --offline`: a root whose key is kept off the control plane's host.
 *
 * Rule: the key leaves the host only when it has been read back from where it was written.
 */
import { createHash, X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { RingfenceError } from '../../base/errors.ts'
import type { ChangedAuthority } from '../../control/services/authorities.ts'
import { writeFileAtomically } from '../../mesh/files.ts'
import { AdminClient } from '../admin-client.ts'
import { durationOption, readInput } from '../options.ts'
import { print, printable, printJson } from '../output.ts'
import { type AdminFlags, adminCommand, byOf } from './admin-command.ts'

export interface CaFlags extends AdminFlags {
  readonly by?: string
}

export function withBy(command: Command): Command {
  return command.option('--by <name>', 'who does it; the user who runs this by default')
}

export function addOffline(ca: Command): void {
  withBy(adminCommand(ca, 'detach', 'move the key of the active root from the control plane into a file'))
    .argument('<file>', 'that is not there yet, on a disk that is taken away')
    .action(detach)
  ca.command('sign')
    .description('sign a request of ca prepare --offline; needs no control plane')
    .argument('<request>', 'as ca prepare issuing --offline wrote it')
    .requiredOption('--root <file>', 'key and certificate of the root, as ca detach wrote them')
    .requiredOption('--out <file>', 'where to write the issuing certificate')
    .addOption(durationOption('--ttl <duration>', 'how long it is good, at most as long as the root', '720h'))
    .action(sign)
  withBy(adminCommand(ca, 'import', 'prepare the issuing certificate that was signed elsewhere'))
    .argument('<file>', 'the certificate')
    .action(take)
}

async function detach(file: string, flags: CaFlags): Promise<void> {
  const { stateDir } = flags
  const from = join(stateDir, 'ca', 'root.pem')
  const pem = readInput(from)
  if (!pem.includes('PRIVATE KEY-----'))
    throw new RingfenceError('USAGE', `there is no key in ${from}`, { hint: 'it is kept elsewhere already' })
  const to = resolve(file)
  if (existsSync(to)) throw new RingfenceError('USAGE', `${file} is there already`, { hint: 'name another file' })
  writeFileAtomically(to, pem, 0o600)
  if (readFileSync(to, 'utf8') !== pem)
    throw new RingfenceError('UNAVAILABLE', `${file} was not written as it was to be`)
  const answer = await new AdminClient(stateDir).forgetRootKey({ id: keyIdOf(pem), by: byOf(flags) })
  tell(flags, `is in ${file} now, and here no more`, answer)
}

/** As the control plane names an authority: the SHA-1 of its key's bits (RFC 5280 §4.2.1.2). */
function keyIdOf(pem: string): string {
  const spki = new X509Certificate(pem).publicKey.export({ format: 'der', type: 'spki' })
  // Of P-256 the last 65 bytes are the point.
  return createHash('sha1').update(spki.subarray(-65)).digest('hex')
}

export async function requestOffline(kind: string, file: string, flags: CaFlags): Promise<void> {
  if (kind !== 'issuing')
    throw new RingfenceError('USAGE', 'a root signs itself: --offline is for issuing', {
      hint: 'ringfence ca prepare root',
    })
  const { requestPem } = await new AdminClient(flags.stateDir).requestIssuing({ by: byOf(flags) })
  writeFileAtomically(resolve(file), requestPem, 0o644)
  if (flags.output === 'json') printJson({ file: resolve(file) })
  else print(`${printable(file)} is to be signed: ringfence ca sign, then ringfence ca import`)
}

async function sign(request: string, flags: { root: string; out: string; ttl: number }): Promise<void> {
  const [{ signRequest }, { readSigner, idOf }] = await Promise.all([
    import('../../control/authorities/offline.ts'),
    import('../../control/authorities/signer.ts'),
  ])
  const root = await readSigner(resolve(flags.root))
  if (root === undefined) throw new RingfenceError('USAGE', `there is no file ${flags.root}`)
  const pem = await signRequest(readInput(request), root, flags.ttl, Date.now())
  writeFileAtomically(resolve(flags.out), pem, 0o644)
  const until = `${new X509Certificate(pem).validToDate.toISOString().slice(0, 16).replace('T', ' ')} UTC`
  print(printable(`${flags.out} is signed by root ${idOf(root.certificate).slice(0, 12)}, good until ${until}`))
}

async function take(file: string, flags: CaFlags): Promise<void> {
  const certificatePem = readInput(file)
  tell(flags, 'is prepared', await new AdminClient(flags.stateDir).importIssuing({ certificatePem, by: byOf(flags) }))
}

export function tell({ output }: AdminFlags, words: string, answer: ChangedAuthority): void {
  const { id, kind } = answer.authority
  if (output === 'json') printJson(answer)
  else print(printable(`${kind} key ${id.slice(0, 12)} ${words}`))
}
