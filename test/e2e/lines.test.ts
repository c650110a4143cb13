import assert from 'node:assert/strict'
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, describe, it } from 'node:test'
import { linesWith } from './lines.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringfence-lines-'))
after(() => rmSync(folder, { recursive: true }))

/** What Node.js itself takes for the lines of a file. */
async function readLines(file: string): Promise<string[]> {
  const lines: string[] = []
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY }))
    if (line !== '') lines.push(line)
  return lines
}

let files = 0
function written(text: string | Buffer): string {
  const file = join(folder, `log ${files++}`)
  writeFileSync(file, text)
  return file
}

const long = 'ä'.repeat(2_700_000)
const texts: Readonly<Record<string, string>> = {
  'of nothing': '',
  'of one line that has no end': 'allow one',
  'of lines, empty ones among them': '\nallow one\n\n\ndeny one two\nallow two\n',
  'of lines that end in both ways, and inside of which one ends': 'allow one\r\ndeny\rallow two\r\none allow\n',
  'of lines longer than a piece': `${long} allow one\ndeny ${long}\nallow ${long} one ${long}\nallow two`,
  'of many lines': Array.from({ length: 50_000 }, (_, i) => `${i % 3 ? 'allow' : 'deny'} ${i} one two\n`).join(''),
}
const asked = [[], ['one'], ['allow', 'one'], ['two', 'deny'], ['ä allow'], ['absent'], ['allow', 'absent'], ['e']]

describe('lines that contain each of some words', () => {
  for (const [name, text] of Object.entries(texts)) {
    it(`are those that a reader of all lines finds, in a file ${name}`, async () => {
      const file = written(text)
      const lines = await readLines(file)
      for (const words of asked) {
        const wanted = lines.filter((line) => words.every((word) => line.includes(word)))
        const found = (await linesWith([file], words)).filter((line) => line !== '')
        assert.equal(found.length, wanted.length, words.join())
        assert.deepEqual(found, wanted)
      }
    })
  }

  it('come in the order of the files', async () => {
    const [first, second] = [written('one 1\nother\none 2'), written('one 3\n')]
    assert.deepEqual(await linesWith([second, first], ['one']), ['one 3', 'one 1', 'one 2'])
  })
})
