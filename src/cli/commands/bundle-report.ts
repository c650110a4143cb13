/** `bundle-report`: what a report of a fault needs, in one file, without secrets. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { cpus, freemem, release, totalmem } from 'node:os'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { sha256Hex } from '../../base/digest.ts'
import { RingfenceError } from '../../base/errors.ts'
import { type AdminAddress, parseAdminAddress } from '../../mesh/admin/address.ts'
import { writeFileAtomically } from '../../mesh/files.ts'
import { AdminClient } from '../admin-client.ts'
import { readPage, whereOf } from '../admin-port.ts'
import { collect, readBy, UnreadableInput } from '../options.ts'
import { print } from '../output.ts'
import { version } from '../version.ts'
import { textWithoutSecrets, withoutSecrets } from '../without-secrets.ts'

interface BundleFlags {
  readonly stateDir: string
  readonly admin?: readonly AdminAddress[]
  readonly log?: readonly string[]
  readonly withPolicy?: true
  readonly out: string
}

const pages = ['/readyz', '/metrics', '/config_dump', '/certs'] as const
/** Of a log, its end. */
const logBytesMax = 1024 * 1024

export function addBundleReport(program: Command): void {
  program
    .command('bundle-report')
    .description('write what a report of a fault needs into one file, without secrets: read it before you send it')
    .option('--state-dir <dir>', 'of the control plane', '.ringfence/control')
    .option('--admin <address>', 'admin port of a process; may be given again', collect(readBy(parseAdminAddress)))
    .option('--log <file>', 'a log, of which the last MiB is taken; may be given again', collect(String))
    .option('--with-policy', 'the text of the policy too')
    .option('--out <file>', 'the report', 'ringfence-report.json')
    .action(async (flags: BundleFlags) => {
      const client = new AdminClient(flags.stateDir)
      const { admin = [], log = [] } = flags
      const report = {
        made: new Date().toISOString(),
        program: { version, node: process.version, openssl: process.versions.openssl },
        machine: {
          platform: `${process.platform} ${process.arch} ${release()}`,
          cpus: cpus().length,
          memoryBytes: totalmem(),
          memoryFreeBytes: freemem(),
        },
        status: await orWhy(() => client.status()),
        policy: await orWhy(() => policyOf(client, flags.withPolicy === true)),
        processes: await Promise.all(admin.map((address) => processAt(address, flags.withPolicy === true))),
        logs: await Promise.all(log.map(async (file) => ({ file, ...(await orWhy(async () => endOf(file))) }))),
      }
      const text = `${JSON.stringify(withoutSecrets(report), undefined, 2)}\n`
      const out = resolve(flags.out)
      writeFileAtomically(out, text, 0o600)
      print(
        `${out}: ${Buffer.byteLength(text)} bytes. It names hosts, people, groups and tables: read it before you send it.`,
      )
    })
}

/** What cannot be had is said: a mesh that has a fault is to be reported all the same. */
async function orWhy<T>(ask: () => Promise<T>): Promise<T | { readonly missing: string }> {
  try {
    return await ask()
  } catch (reason) {
    return { missing: RingfenceError.from(reason, 'UNAVAILABLE').message }
  }
}

async function policyOf(client: AdminClient, whole: boolean): Promise<object> {
  const { revision, source } = await client.policy()
  const kinds: Record<string, number> = {}
  for (const [, kind = ''] of source.matchAll(/^kind:\s*(\w+)/gm)) kinds[kind] = (kinds[kind] ?? 0) + 1
  return { revision, sha256: sha256Hex(source), bytes: source.length, kinds, ...(whole ? { source } : {}) }
}

async function processAt(address: AdminAddress, whole: boolean): Promise<object> {
  const read = await Promise.all(
    pages.map(async (page) => {
      const told = await orWhy(async () => {
        const { status, text } = await readPage(address, page)
        return { status, body: bodyOf(text, whole) }
      })
      return [page, told] as const
    }),
  )
  return { where: whereOf(address), ...Object.fromEntries(read) }
}

/** JSON as JSON, so that fields can be told apart by their names. */
function bodyOf(text: string, whole: boolean): unknown {
  if (!text.startsWith('{')) return textWithoutSecrets(text).split('\n')
  const dump = JSON.parse(text) as { pushed?: { policy?: { value?: unknown } } }
  if (!whole && dump.pushed?.policy !== undefined) dump.pushed.policy.value = '(left out: --with-policy)'
  return dump
}

function endOf(file: string): object {
  let descriptor: number
  try {
    descriptor = openSync(file, 'r')
  } catch (cause) {
    throw new UnreadableInput(`${file} cannot be read: ${(cause as Error).message}`, {
      hint: 'name a log that can be read',
    })
  }
  try {
    const { size } = fstatSync(descriptor)
    const from = Math.max(0, size - logBytesMax)
    const bytes = Buffer.alloc(size - from)
    readSync(descriptor, bytes, 0, bytes.length, from)
    const text = bytes.toString('utf8')
    // As a whole: a key takes several lines.
    const lines = textWithoutSecrets(text).split('\n')
    // The first may be a part of one, and half of a secret.
    return { bytes: size, lines: from === 0 ? lines : lines.slice(1) }
  } finally {
    closeSync(descriptor)
  }
}
