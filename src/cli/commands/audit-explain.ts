/** `audit explain`: the story of one transaction, hop by hop, and its proof where the record is sealed. */
import { type Command, InvalidArgumentError } from 'commander'
import { viewRecord } from '../../archive/record-view.ts'
import { type RecordId, storyRows } from '../../archive/story.ts'
import type { RecordProof } from '../../audit/sealed/proof.ts'
import { RingfenceError } from '../../base/errors.ts'
import { exitCode, type Format, paint, print, printable, printJson } from '../output.ts'
import { askRecord } from '../record/asking.ts'
import { type PlaceFound, tryPlaceOf } from '../record/place.ts'
import { rangeOf, type SourceFlags, sourcesOf, type TimeFlags, withSources, withTimes } from '../record/sources.ts'
import { type Hop, idOf, storyOf } from '../record/story.ts'
import { writeProof } from '../record/written-proof.ts'
import { withOutput } from './admin-command.ts'

interface ExplainFlags extends SourceFlags, TimeFlags {
  readonly output: Format
  readonly proof?: string
}

export function addExplain(audit: Command): void {
  const command = audit
    .command('explain')
    .description('one transaction hop by hop: client, person, gateway, sidecar, verdict, node, log')
    .argument('<id>', 'its sidecar and seq, such as sidecar-1/42; or only its seq', parseId)
    .option('--proof <name>', 'write the files that audit proof writes')
    .addHelpText(
      'after',
      `
audit tail, and audit query "SELECT proxy, seq, * FROM record", say ids.

Ends with 0, with 2 where it was refused, with 1 where there is no such record,
64 where the id is that of more than one, 65 where the record can't be read.`,
    )
  withOutput(withSources(withTimes(command, '24h'))).action(explain)
}

function parseId(text: string): RecordId {
  const [, proxy, seq] = /^(?:(.+)\/)?([1-9]\d{0,14})$/.exec(text) ?? []
  if (seq === undefined) throw new InvalidArgumentError('an id is written sidecar-1/42')
  return { proxy, seq: Number(seq) }
}

async function explain(id: RecordId, flags: ExplainFlags): Promise<void> {
  const sources = sourcesOf(flags, rangeOf(flags, Date.now()).fromMs)
  const rows = await askRecord(async (database) => {
    await viewRecord(database, sources, rangeOf(flags, Date.now()))
    return await storyRows(database, id)
  })
  if (rows === undefined) return
  const place = tryPlaceOf(rows.row, sources.files)
  if (flags.proof !== undefined) writeProof(flags.proof, proofIn(place))
  const hops = storyOf(rows, place)
  if (flags.output === 'json') {
    const told = hops.map(({ hop, facts }) => ({ hop, ...facts }))
    printJson({ id: idOf(rows.row), time: rows.row.time, hops: told })
  } else
    print([paint(printable(`${idOf(rows.row)}, ${String(rows.row.time)}`), 'bold'), ...hops.map(linesOf)].join('\n'))
  if (rows.row.verdict === 'deny') process.exitCode = exitCode.denied
}

const nameWidth = 9

function linesOf({ hop, words }: Hop): string {
  const lines = words.map((line, at) => `${(at === 0 ? hop : '').padEnd(nameWidth)}${printable(line)}`)
  return lines.join('\n')
}

/** @throws RingfenceError INVALID where there is none */
function proofIn(place: PlaceFound): RecordProof {
  if (place !== undefined && !(place instanceof RingfenceError)) return place.proof
  throw new RingfenceError('INVALID', 'there is no proof of this record', {
    hint: place?.message ?? 'only a sealed record has proofs: name its folder by --from',
  })
}
