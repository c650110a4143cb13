/**
 * What a verified token of `sts:GetWebIdentityToken` says: `sub` is the ARN of a role or user; AWS's own claims stand in the object
 * `https://sts.amazonaws.com/` (IAM User Guide, *Understanding token claims*).
 */
import { z } from 'zod'
import { LogInRefused } from '../refusal.ts'
import { type AwsPrincipal, awsPrincipalOf } from './arn.ts'

export const awsClaimsName = 'https://sts.amazonaws.com/'

const claimsSchema = z.looseObject({
  aws_account: z.string().regex(/^[0-9]{12}$/),
  org_id: z.string().max(64).optional(),
})
const payloadSchema = z.looseObject({ sub: z.string().max(2048), [awsClaimsName]: claimsSchema })

export interface WebIdentityCheck {
  /** Only these; else whatever accounts the issuer speaks for: AWS has one issuer for each account. */
  readonly accounts?: readonly string[] | undefined
  readonly organizations?: readonly string[] | undefined
}

export interface WebIdentity {
  readonly principal: AwsPrincipal
  /** AWS's own claims, of which policy may ask for some. */
  readonly claims: Readonly<Record<string, unknown>>
}

/** @param payload of a token whose signature, issuer, audience and times were checked. @throws LogInRefused */
export function webIdentityOf(payload: unknown, { accounts, organizations }: WebIdentityCheck): WebIdentity {
  const read = payloadSchema.safeParse(payload)
  if (!read.success) throw new LogInRefused('malformed', 'the token is none of sts:GetWebIdentityToken')
  const claims = read.data[awsClaimsName]
  const principal = awsPrincipalOf(read.data.sub)
  if (principal === undefined) throw new LogInRefused('claims', 'the token is of neither a role nor a user of AWS')
  if (principal.account !== claims.aws_account) throw new LogInRefused('malformed', 'the token names two AWS accounts')
  if (accounts !== undefined && !accounts.includes(principal.account)) {
    throw new LogInRefused('account', `${principal.arn} is of an account that may not log in here`)
  }
  if (organizations !== undefined && (claims.org_id === undefined || !organizations.includes(claims.org_id))) {
    throw new LogInRefused('account', `${principal.arn} is of an organization that may not log in here`)
  }
  return { principal, claims }
}
