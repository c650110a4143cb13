/**
 * The differential run: statements at random, well formed and damaged, to our analyser and to Cassandra's parser.
 *
 *   node test/oracle/fuzz-cql.ts --count 1000000 --seed 1
 *
 * With `--lexer` it compares tokens of short texts instead. Prints counts and each disagreement; ends with 1 where we accept what Cassandra rejects or read other facts.
 */
import { parseArgs } from 'node:util'
import { invalid, valid } from '../../src/cql/statement/statement.corpus.ts'
import { compare, compareTokens, type Difference } from './compare.ts'
import { Chance, Generator } from './grammar.ts'
import { glue, render } from './mutate.ts'
import { Oracle, oracleMissing } from './oracle.ts'

export interface FuzzResult {
  readonly count: number
  readonly accepted: number
  readonly differences: Map<Difference, number>
  readonly examples: readonly string[]
}

const chunk = 2000

/** Good enough to cut the statements written by hand into pieces that may be moved about. */
const tokenPattern = /'(?:[^']|'')*'|\$\$.*?\$\$|"[^"]*"|\w+(?:-[\da-f]{4,12})*|[<>!]=|[+-]=|\.\.|--.*\n|\S/g

/** Runs `count` statements; `report` is told of every disagreement. */
export async function fuzz(
  oracle: Oracle,
  count: number,
  seed: number,
  report: (line: string) => void = () => {},
): Promise<FuzzResult> {
  const chance = new Chance(seed)
  const generator = new Generator(chance)
  const differences = new Map<Difference, number>()
  const examples: string[] = []
  let accepted = 0
  for (let done = 0; done < count; done += chunk) {
    const texts = Array.from({ length: Math.min(chunk, count - done) }, () => anyStatement(chance, generator))
    const answers = await oracle.parse(texts)
    for (const [at, text] of texts.entries()) {
      const answer = answers[at]!
      if (answer.accepted) accepted += 1
      const disagreement = compare(text, answer)
      if (disagreement === undefined) continue
      differences.set(disagreement.difference, (differences.get(disagreement.difference) ?? 0) + 1)
      const line = `${disagreement.difference}: ${JSON.stringify(text)}\n    ${disagreement.detail}`
      examples.push(line)
      report(line)
    }
  }
  return { count, accepted, differences, examples }
}

/** Texts of touching tokens to both lexers; the disagreements. */
export async function fuzzLexer(oracle: Oracle, count: number, seed: number): Promise<string[]> {
  const chance = new Chance(seed)
  const disagreements: string[] = []
  for (let done = 0; done < count; done += chunk) {
    const texts = Array.from({ length: Math.min(chunk, count - done) }, () => glue(chance))
    const answers = await oracle.lex(texts)
    for (const [at, text] of texts.entries()) {
      const disagreement = compareTokens(text, answers[at])
      if (disagreement !== undefined) disagreements.push(`${JSON.stringify(text)}: ${disagreement}`)
    }
  }
  return disagreements
}

/** A statement: most from the grammar, some by hand; half of them damaged. */
function anyStatement(chance: Chance, generator: Generator): string {
  const damage = chance.int(2) === 0 ? 0 : 1 + chance.int(3)
  const tokens = chance.int(8) === 0 ? chance.pick(written) : generator.statement()
  return render(tokens, chance, damage)
}

const written = [...valid.map(([text]) => text), ...invalid].map((text) => text.match(tokenPattern) ?? [])

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '20000' },
      seed: { type: 'string', default: '1' },
      lexer: { type: 'boolean', default: false },
    },
  })
  const missing = oracleMissing()
  if (missing !== undefined) {
    console.error(`the oracle cannot run: ${missing}`)
    process.exit(2)
  }
  const oracle = new Oracle()
  if (values.lexer) {
    const disagreements = await fuzzLexer(oracle, Number(values.count), Number(values.seed))
    oracle.stop()
    for (const disagreement of disagreements) console.log(disagreement)
    console.log(`seed ${values.seed}: ${values.count} texts, ${disagreements.length} lexed otherwise`)
    process.exit(disagreements.length === 0 ? 0 : 1)
  }
  const result = await fuzz(oracle, Number(values.count), Number(values.seed), (line) => console.log(line))
  oracle.stop()
  console.log(
    `seed ${values.seed}: ${result.count} statements, Cassandra accepts ${result.accepted}; ` +
      `we accept and it rejects: ${result.differences.get('we accept') ?? 0}; ` +
      `we reject and it accepts: ${result.differences.get('we reject') ?? 0}; ` +
      `facts differ: ${result.differences.get('facts') ?? 0}`,
  )
  process.exit(result.examples.length === 0 ? 0 : 1)
}
