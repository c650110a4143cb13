/**
 * The differential run: statements at random, well formed and damaged, to our analyser and to Cassandra's parser.
 *
 *   npm run fuzz:cql -- --count 1000000 --seed 1
 *
 * With `--lexer` it compares tokens of short texts instead. Prints counts and each disagreement; ends with 1 where we accept what Cassandra rejects or read other facts.
 */
import { parseArgs } from 'node:util'
import { setUpParts } from '../../demo/parts/setup.ts'
import { invalid, valid } from '../../src/cql/statement/statement.corpus.ts'
import { compare, compareTokens, type Difference } from './compare.ts'
import { Chance, Generator, terminals } from './grammar.ts'
import { glue, render } from './mutate.ts'
import { type Answer, Oracle, oracleMissing } from './oracle.ts'

export interface FuzzResult {
  readonly count: number
  readonly accepted: number
  readonly differences: Map<Difference, number>
  readonly examples: readonly string[]
}

const chunk = 2000
const progressEvery = 500_000

interface Asked {
  readonly texts: readonly string[]
  readonly answers: Promise<Answer[]>
}

/** Good enough to cut the statements written by hand into pieces that may be moved about. */
const tokenPattern = /'(?:[^']|'')*'|\$\$.*?\$\$|"[^"]*"|\w+(?:-[\da-f]{4,12})*|[<>!]=|[+-]=|\.\.|--.*\n|\S/g

/** Runs `count` statements; `report` is told of every disagreement, and now and then how far it is. */
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
  const ask = (size: number): Asked => {
    const texts = Array.from({ length: size }, () => anyStatement(chance, generator))
    return { texts, answers: oracle.parse(texts) }
  }
  let next = ask(Math.min(chunk, count))
  for (let done = 0; done < count; done += chunk) {
    const { texts, answers: waiting } = next
    const answers = await waiting
    // The oracle has its next texts before we look at its answers, so that neither waits for the other.
    next = ask(Math.max(0, Math.min(chunk, count - done - chunk)))
    if (done > 0 && done % progressEvery === 0) {
      report(`… ${done} statements, Cassandra accepts ${accepted}, ${examples.length} disagreements`)
    }
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
  if (chance.int(32) === 0) return render(repeatedBatch(chance, generator), chance, damage)
  const tokens = chance.int(8) === 0 ? chance.pick(written) : generator.statement()
  return render(tokens, chance, damage)
}

/** A BATCH of one statement several times, with other literals or a word replaced: our parser reads what repeats only once. */
function repeatedBatch(chance: Chance, generator: Generator): string[] {
  const part = generator.statement(chance.pick(['insert', 'update', 'delete']))
  const out = ['BEGIN', 'BATCH']
  for (let times = 2 + chance.int(4); times > 0; times -= 1) {
    for (const token of part) {
      const same = literals.find((list) => list.includes(token))
      out.push(same !== undefined && chance.int(2) === 0 ? chance.pick(same) : token)
    }
    if (chance.int(4) === 0) out[out.length - 1 - chance.int(part.length)] = chance.pick(part)
    if (chance.int(2) === 0) out.push(';')
  }
  return [...out, 'APPLY', 'BATCH']
}

const literals = [terminals.integer!, terminals.string!, terminals.constant!, terminals.marshal!]

const written = [...valid.map(([text]) => text), ...invalid].map((text) => text.match(tokenPattern) ?? [])

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '20000' },
      seed: { type: 'string', default: '1' },
      lexer: { type: 'boolean', default: false },
    },
  })
  if (oracleMissing() !== undefined) await setUpParts({})
  const missing = oracleMissing()
  if (missing !== undefined) {
    console.error(`the oracle cannot run: ${missing}`)
    process.exit(2)
  }
  // Two thirds of the texts are refused; nobody reads those stacks.
  Error.stackTraceLimit = 0
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
