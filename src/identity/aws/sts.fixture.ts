/** What AWS STS answers, as it was recorded of it, by status, code and kind of content. */
import type { OutsideAnswer } from '../outside/answer.ts'

export function answerOf(status: number, body: unknown, contentType = 'application/json'): OutsideAnswer {
  return { status, contentType, body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)) }
}

/** Of the role `etl` in a session, unless said otherwise. */
export function callerAnswer(
  Arn = 'arn:aws:sts::123456789012:assumed-role/etl/i-0123456789abcdef0',
  Account = '123456789012',
): OutsideAnswer {
  return answerOf(200, {
    GetCallerIdentityResponse: {
      GetCallerIdentityResult: { Account, Arn, UserId: 'AROAEXAMPLEEXAMPLE000:i-0123456789abcdef0' },
      ResponseMetadata: { RequestId: '6b5a3f0a-7d2e-4a8b-9e0f-1c2d3e4f5a6b' },
    },
  })
}

export function errorAnswer(status: number, Code: string): OutsideAnswer {
  return answerOf(status, { Error: { Code, Message: 'of no interest', Type: 'Sender' }, RequestId: '6b5a3f0a' })
}
