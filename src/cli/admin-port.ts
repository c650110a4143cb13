/** Asks the admin port of a process of this machine. */
import type { IncomingMessage } from 'node:http'
import { RingfenceError } from '../base/errors.ts'
import type { AdminAddress } from '../mesh/admin/address.ts'
import { request } from '../mesh/http.ts'

const pageCharsMax = 16 * 1024 * 1024

/** The answer, whose body is still to come. @throws RingfenceError UNAVAILABLE, DENIED */
export function openPage(address: AdminAddress, path: string, signal: AbortSignal): Promise<IncomingMessage> {
  const to = 'path' in address ? { socketPath: address.path } : { host: address.host, port: address.port }
  return new Promise((resolve, reject) => {
    const asking = request({ ...to, path, agent: false, signal })
    asking.on('response', resolve)
    asking.on('error', (cause) => {
      const message = `the admin port at ${whereOf(address)} does not answer: ${cause.message}`
      reject(
        new RingfenceError('UNAVAILABLE', message, { cause, hint: 'is admin.listen set, and is the process there?' }),
      )
    })
    asking.end()
  })
}

/** All of a page. */
export async function readPage(address: AdminAddress, path: string): Promise<{ status: number; text: string }> {
  const answer = await openPage(address, path, AbortSignal.timeout(10_000))
  return { status: answer.statusCode ?? 0, text: await textOf(answer) }
}

export async function textOf(answer: IncomingMessage): Promise<string> {
  let text = ''
  answer.setEncoding('utf8')
  for await (const piece of answer) {
    text += piece as string
    if (text.length > pageCharsMax) throw new RingfenceError('TOO_LARGE', 'the admin port answers with too much')
  }
  return text
}

export function whereOf(address: AdminAddress): string {
  return 'path' in address ? `unix:${address.path}` : `${address.host}:${address.port}`
}
