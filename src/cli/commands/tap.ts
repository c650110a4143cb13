/** `tap`: transactions as they happen, of the sidecars of this machine. */
import type { IncomingMessage } from 'node:http'
import { type Command, Option } from 'commander'
import { RingfenceError } from '../../base/errors.ts'
import { type AdminAddress, parseAdminAddress } from '../../mesh/admin/address.ts'
import { openPage, textOf, whereOf } from '../admin-port.ts'
import { Following } from '../following.ts'
import { collect, countOption, durationOption, readBy } from '../options.ts'
import { type Format, isColoured, printable } from '../output.ts'
import { parseTable, type TableName } from '../record/table-name.ts'
import { type Line, lineOf, type Shown, shownLine } from '../record/tail-filter.ts'
import { localZone, readZone } from '../time-words.ts'
import { withOutput } from './admin-command.ts'

interface TapFlags {
  readonly admin: readonly AdminAddress[]
  readonly person?: string
  readonly workload?: string
  readonly table?: TableName
  readonly verdict?: string
  readonly denied?: boolean
  readonly errors?: boolean
  readonly slow?: number
  readonly limit?: number
  readonly zone?: string
  readonly output: Format
}

/** A sidecar's line has no more. */
const lineCharsMax = 64 * 1024

export function addTap(program: Command): void {
  withOutput(program.command('tap').description('transactions as they happen at sidecars of this machine'))
    .requiredOption(
      '--admin <address>',
      'admin socket of a sidecar, as its admin.listen has it; may be given again',
      collect(readBy(parseAdminAddress)),
    )
    .option('--person <name>', 'behind the request, such as alice or corp/alice; * stands for any letters')
    .option('--workload <name>', 'that asked, such as svc/orders or a SPIFFE id; * stands for any letters')
    .option('--table <name>', 'a keyspace, or keyspace.table, as CQL writes it', parseTable)
    .addOption(new Option('--verdict <verdict>', 'of the policy').choices(['allow', 'observe', 'deny']))
    .addOption(new Option('--denied', 'as --verdict deny').conflicts('verdict'))
    .option('--errors', 'what ended with an error, a refusal too, or without an answer')
    .addOption(durationOption('--slow <duration>', 'what took so long at least, in the mesh and at the node'))
    .addOption(countOption('--limit <count>', 'end after so many lines in all'))
    .option('--zone <name>', 'of the times that are shown (that of this machine)')
    .addHelpText(
      'after',
      `
Lines are those of the record without their number; what all flags say is shown.
The page is there by a Unix socket only, for whoever may open it. Lines beyond
1,000 a second, or that are read too slowly, are left out and counted.

Ends with 0 after --limit, 130 after Ctrl-C, and 1 where a sidecar does not
answer or ends.`,
    )
    .action(tap)
}

async function tap(flags: TapFlags): Promise<void> {
  const zone = flags.zone === undefined ? localZone() : readZone(flags.zone)
  using following = new Following(flags.limit)
  const print = (text: string, line: Line): void => {
    if (line.event === 'looking') return
    const shown = { zone, widthMax: process.stdout.columns ?? 80, color: isColoured() }
    following.print(flags.output === 'json' ? printable(text) : textOfLine(line, shown))
  }
  try {
    await Promise.all(flags.admin.map((address) => follow(address, queryOf(flags), following, print)))
  } finally {
    // The others end with the first that cannot go on.
    following.end()
  }
}

function queryOf({ person, workload, table, verdict, denied, errors, slow }: TapFlags): URLSearchParams {
  const asked = {
    person,
    workload,
    keyspace: table?.keyspace,
    table: table?.table,
    verdict: denied === true ? 'deny' : verdict,
    errors: errors === true ? 'true' : undefined,
    slowMs: slow === undefined ? undefined : String(Math.round(1_000 * slow) / 1_000),
  }
  return new URLSearchParams(Object.entries(asked).filter((entry): entry is [string, string] => entry[1] !== undefined))
}

async function follow(
  address: AdminAddress,
  query: URLSearchParams,
  following: Following,
  print: (text: string, line: Line) => void,
): Promise<void> {
  const read = async (): Promise<void> => {
    const answer = await openPage(address, `/tap?${query}`, following.signal)
    if (answer.statusCode !== 200) {
      throw new RingfenceError('UNAVAILABLE', `${whereOf(address)} refuses: ${(await textOf(answer)).trim()}`, {
        hint: 'docs/observe.md#live',
      })
    }
    try {
      await readLines(answer, print, following, whereOf(address))
    } catch (cause) {
      if (cause instanceof RingfenceError) throw cause
      throw new RingfenceError('UNAVAILABLE', `the sidecar at ${whereOf(address)} has gone`, { cause })
    }
    throw new RingfenceError('UNAVAILABLE', `the sidecar at ${whereOf(address)} tells no more`)
  }
  await following.unlessOver(read())
}

async function readLines(
  answer: IncomingMessage,
  print: (text: string, line: Line) => void,
  following: Following,
  where: string,
): Promise<void> {
  let rest = ''
  answer.setEncoding('utf8')
  for await (const piece of answer) {
    const lines = (rest + (piece as string)).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > lineCharsMax) throw new RingfenceError('TOO_LARGE', `${where} tells a line without end`)
    for (const text of lines) {
      const line = lineOf(text)
      if (line !== undefined) print(text, line)
    }
    // Meanwhile nothing is read, and the sidecar counts what it leaves out.
    await following.written()
  }
}

/** As `audit tail` shows it. */
function textOfLine(line: Line, shown: Shown): string {
  if (line.event !== 'left out') return shownLine(line, shown)
  return shownLine({ ...line, event: `${Number(line.count)} left out: too many, or read too slowly` }, shown)
}
