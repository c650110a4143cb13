/** What STS answers to GetCallerIdentity, in JSON only: its answers in XML are not read. */
import { z } from 'zod'
import { jsonOf, type OutsideAnswer } from '../outside/answer.ts'
import { LogInRefused } from '../refusal.ts'
import { type AwsPrincipal, awsPrincipalOf } from './arn.ts'

const identitySchema = z.strictObject({
  GetCallerIdentityResponse: z.strictObject({
    GetCallerIdentityResult: z.strictObject({
      Account: z.string().regex(/^[0-9]{12}$/),
      Arn: z.string().max(2048),
      UserId: z.string().max(512),
    }),
    ResponseMetadata: z.strictObject({ RequestId: z.string().max(256) }),
  }),
})
const errorSchema = z.object({ Error: z.object({ Code: z.string().max(128) }) })

/** AWS's codes for too many requests; another try may succeed. */
const throttled =
  /^(?:Throttl|TooManyRequests|RequestLimitExceeded|SlowDown|ServiceUnavailable|InternalFailure|PriorRequestNotComplete)/

/** @throws LogInRefused */
export function callerOf(answer: OutsideAnswer): AwsPrincipal {
  const { status } = answer
  const json = jsonOf(answer)
  if (status === 200) {
    const read = identitySchema.safeParse(json)
    if (!read.success) throw away('the answer of AWS STS is not understood')
    const { Account, Arn } = read.data.GetCallerIdentityResponse.GetCallerIdentityResult
    const principal = awsPrincipalOf(Arn)
    if (principal === undefined) {
      throw new LogInRefused('claims', `AWS STS names neither a role nor a user: ${JSON.stringify(Arn.slice(0, 200))}`)
    }
    if (principal.account !== Account) throw away('the answer of AWS STS names two accounts')
    return principal
  }
  const code = errorSchema.safeParse(json).data?.Error.Code ?? ''
  const told = /^[A-Za-z0-9.]{1,64}$/.test(code) ? `${status} ${code}` : `${status}`
  if (status === 429 || status >= 500 || status < 400 || throttled.test(code)) {
    throw away(`AWS STS can't say now who signed this request (${told})`)
  }
  if (/^(?:ExpiredToken|RequestExpired)/.test(code))
    throw new LogInRefused('expired', `AWS STS says that the request is too old (${told})`, {
      words: 'the pre-signed request or its credentials have expired; make a new one (ringfence aws-token)',
    })
  throw new LogInRefused('signature', `AWS STS does not know who signed this request (${told})`)
}

function away(message: string): LogInRefused {
  return new LogInRefused('verifier-away', message, { words: 'AWS STS does not answer as it should; try again' })
}
