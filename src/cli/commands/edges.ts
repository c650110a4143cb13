/** `edges`: which ways there are between identities and tables, how each is secured, and how much goes there. */
import type { Command } from 'commander'
import type { Answer, Row } from '../../archive/database.ts'
import { viewRecord } from '../../archive/record-view.ts'
import { edgesOf } from '../../archive/who.ts'
import { type FittedColumn, fittedTable } from '../fitted-table.ts'
import { printable } from '../output.ts'
import {
  type AnswerFlags,
  answered,
  cellText,
  headLines,
  showAnswer,
  tableOptions,
  withAnswer,
  writtenBy,
} from '../record/answer.ts'
import { askRecord } from '../record/asking.ts'
import { rangeOf, type SourceFlags, sourcesOf, type TimeFlags, withSources, withTimes } from '../record/sources.ts'
import { pathOf } from '../traffic-table.ts'

interface EdgesFlags extends SourceFlags, TimeFlags, AnswerFlags {}

export function addEdges(program: Command): void {
  const command = program
    .command('edges')
    .description('from which identity to which table requests went, how secured, how many')
  withAnswer(withSources(withTimes(command, '24h'))).action(async (flags: EdgesFlags) => {
    const range = rangeOf(flags, Date.now())
    const sources = sourcesOf(flags, range.fromMs)
    const answer = await askRecord(async (database) => {
      await viewRecord(database, sources, range, writtenBy(flags))
      return answered(database, edgesOf((range.toMs - range.fromMs) / 1000), flags)
    })
    if (answer === undefined) return
    const head = headLines('ways to tables', range).map(printable)
    showAnswer(answer, flags, (rows) => [...head, '', ...linesOf(rows)].join('\n'))
  })
}

function linesOf({ rows }: Answer): string[] {
  if (rows.length === 0) return ['nobody']
  return fittedTable(columns, rows, colourOf, tableOptions())
}

/** What came by a plain listener, and what was refused as a whole. */
function colourOf({ secured, allowed }: Row): string | undefined {
  if (String(secured).startsWith('no proof')) return '33'
  return allowed === 0 ? '31' : undefined
}

const columns: readonly FittedColumn<Row>[] = [
  { title: 'SOURCE', widthMax: 40, widthMin: 13, cell: ({ workload }) => pathOf(String(workload)) },
  { title: 'PERSON', widthMax: 30, widthMin: 10, cell: ({ person }) => cellText(person) },
  { title: 'DESTINATION', widthMax: 40, widthMin: 14, cell: ({ destination }) => cellText(destination) },
  { title: 'SECURED', widthMax: 20, widthMin: 8, cell: ({ secured }) => cellText(secured) },
  { title: 'SIDECARS', widthMax: 20, widthMin: 8, goes: 1, cell: ({ proxies }) => cellText(proxies) },
  { title: 'ALLOWED', widthMax: 10, widthMin: 7, right: true, cell: ({ allowed }) => cellText(allowed) },
  { title: 'REFUSED', widthMax: 10, widthMin: 7, right: true, cell: ({ refused }) => cellText(refused) },
  { title: 'RATE/S', widthMax: 8, widthMin: 6, right: true, cell: ({ rate }) => Number(rate).toFixed(2) },
]
