/**
 * Runs command lines one after the other in one process, because starting one for each takes half a second: a JSON list of arguments a line
 * comes in, a JSON object of exit code and output a line goes out.
 */
import { createInterface } from 'node:readline'
import { runProgram } from './program.ts'

const write = process.stdout.write.bind(process.stdout)

for await (const line of createInterface({ input: process.stdin })) {
  const written = { out: '', err: '' }
  const into = (key: 'out' | 'err') => (text: string | Uint8Array) => {
    written[key] += String(text)
    return true
  }
  process.stdout.write = into('out')
  process.stderr.write = into('err')
  process.exitCode = 0
  await runProgram(JSON.parse(line) as string[])
  write(`${JSON.stringify({ code: process.exitCode, ...written })}\n`)
}
process.exitCode = 0
