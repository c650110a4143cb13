/**
 * Everything that one can ask the control plane for: one table, walked by the socket of the command line and by the HTTPS of proxies alike.
 * A new verb is a function in `services/` and a line here.
 */
import { z } from 'zod'
import { limits } from '../base/limits.ts'
import { authoritiesPath, wireAuthorities } from '../mesh/authorities.ts'
import { collectAnswer, collectBodyBytesMax, collectPath, collectRequest } from '../mesh/collection.ts'
import { enrolRequest, issuedCertificate, renewRequest } from '../mesh/enrolment.ts'
import { exchangeAnswer, exchangePath, exchangeRequest } from '../mesh/exchange.ts'
import { limitShares, limitSharesAnswer, limitSharesBytesMax, limitSharesPath } from '../mesh/limit-shares.ts'
import { presignedUse, presignedUseAnswer, presignedUsesPath } from '../mesh/presigned-uses.ts'
import { reportBytesMax } from '../mesh/proxy-report.ts'
import { reportAnswer } from '../mesh/report.ts'
import { madeTxnToken, txnOrder, txnTokensPath } from '../mesh/transaction-tokens.ts'
import { forgetWitnessedPath, witnessAnswer, witnessedPath, witnessPath, witnessRequest } from '../mesh/witness.ts'
import { administrator, anybody, enrolledProxy, member } from './callers.ts'
import { type Route, route, streamRoute } from './route.ts'
import * as agents from './services/agents.ts'
import * as authorities from './services/authorities.ts'
import * as certificates from './services/certificates.ts'
import { collectRecord } from './services/collection.ts'
import { shareLimits } from './services/limit-shares.ts'
import type { ControlParts } from './services/parts.ts'
import * as policy from './services/policy.ts'
import { firstUse } from './services/presigned-uses.ts'
import * as proxies from './services/proxies.ts'
import * as revocations from './services/revocations.ts'
import * as transactions from './services/transaction-tokens.ts'
import {
  forgetWitnessed,
  forgetWitnessedOrder,
  forgottenAnswer,
  witnessed,
  witnessedAnswer,
  witnessLog,
} from './services/witness.ts'

const nothing = z.unknown()
/** JSON may write one byte of policy as six. */
const policyBodyBytesMax = 6 * limits.policyBytesMax + 4096
/** A token as it is, for it has nothing that a form escapes, and a signing request. */
const exchangeBodyBytesMax = limits.authMessageBytesMax + 32 * 1024

export function controlRoutes(parts: ControlParts): Route[] {
  const proxy = enrolledProxy(parts)
  return [
    route({
      method: 'POST',
      path: '/v1/enrol',
      who: anybody,
      input: enrolRequest,
      output: issuedCertificate,
      service: (caller, request) => certificates.enrol(parts, caller, request),
    }),
    route({
      method: 'POST',
      path: exchangePath,
      who: anybody,
      input: exchangeRequest,
      output: exchangeAnswer,
      bodyBytesMax: exchangeBodyBytesMax,
      isOauth: true,
      service: (caller, request) => certificates.exchange(parts, caller, request),
    }),
    route({
      method: 'POST',
      path: '/v1/renew',
      who: member,
      input: renewRequest,
      output: issuedCertificate,
      service: (caller, request) => certificates.renew(parts, caller, request),
    }),
    route({
      method: 'POST',
      path: authoritiesPath,
      who: member,
      input: nothing,
      output: wireAuthorities,
      service: () => authorities.told(parts),
    }),
    route({
      method: 'POST',
      path: txnTokensPath,
      who: member,
      input: txnOrder,
      output: madeTxnToken,
      bodyBytesMax: transactions.txnOrderBytesMax,
      service: (caller, order) => transactions.makeToken(parts, caller, order),
    }),
    route({
      method: 'POST',
      path: presignedUsesPath,
      who: proxy,
      input: presignedUse,
      output: presignedUseAnswer,
      service: (caller, use) => firstUse(parts, caller, use),
    }),
    route({
      method: 'POST',
      path: limitSharesPath,
      who: proxy,
      input: limitShares,
      output: limitSharesAnswer,
      bodyBytesMax: limitSharesBytesMax,
      service: (caller, asked) => shareLimits(parts, caller, asked),
    }),
    route({
      method: 'POST',
      path: witnessPath,
      who: proxy,
      input: witnessRequest,
      output: witnessAnswer,
      service: (caller, request) => witnessLog(parts, caller, request),
    }),
    route({
      method: 'POST',
      path: collectPath,
      who: proxy,
      input: collectRequest,
      output: collectAnswer,
      bodyBytesMax: collectBodyBytesMax,
      service: (caller, request) => collectRecord(parts, caller, request),
    }),
    route({
      method: 'GET',
      path: witnessedPath,
      who: administrator,
      input: nothing,
      output: witnessedAnswer,
      service: () => witnessed(parts),
    }),
    route({
      method: 'POST',
      path: forgetWitnessedPath,
      who: administrator,
      input: forgetWitnessedOrder,
      output: forgottenAnswer,
      service: (caller, order) => forgetWitnessed(parts, caller, order),
    }),
    route({
      method: 'POST',
      path: '/v1/report',
      who: proxy,
      heard: (caller) => proxies.heard(parts, caller),
      input: nothing,
      output: reportAnswer,
      bodyBytesMax: reportBytesMax,
      service: (caller, given) => proxies.report(parts, caller, given),
    }),
    streamRoute({
      path: '/v1/watch',
      who: proxy,
      notAfterMs: ({ peer }) => peer.notAfterMs,
      service: (caller, tell) => proxies.watch(parts, caller, tell),
    }),
    route({
      method: 'POST',
      path: '/v1/tokens',
      who: administrator,
      input: certificates.tokenOrder,
      output: certificates.madeToken,
      service: (caller, order) => certificates.makeToken(parts, caller, order),
    }),
    route({
      method: 'POST',
      path: '/v1/x509',
      who: administrator,
      input: certificates.mintOrder,
      output: certificates.mintedCertificate,
      service: (caller, order) => certificates.mint(parts, caller, order),
    }),
    route({
      method: 'GET',
      path: '/v1/issuances',
      who: administrator,
      input: certificates.issuancesQuery,
      output: certificates.issuancesAnswer,
      service: (caller, query) => certificates.issuances(parts, caller, query),
    }),
    route({
      method: 'GET',
      path: '/v1/bundle',
      who: administrator,
      input: nothing,
      output: certificates.bundleAnswer,
      service: () => certificates.bundle(parts),
    }),
    route({
      method: 'GET',
      path: '/v1/ca',
      who: administrator,
      input: nothing,
      output: authorities.authoritiesAnswer,
      service: () => authorities.list(parts),
    }),
    route({
      method: 'POST',
      path: '/v1/ca/prepare',
      who: administrator,
      input: authorities.prepareOrder,
      output: authorities.changedAuthority,
      service: (caller, order) => authorities.prepare(parts, caller, order),
    }),
    route({
      method: 'POST',
      path: '/v1/ca/request',
      who: administrator,
      input: authorities.requestOrder,
      output: authorities.madeRequest,
      service: (caller, order) => authorities.request(parts, caller, order),
    }),
    route({
      method: 'POST',
      path: '/v1/ca/import',
      who: administrator,
      input: authorities.importOrder,
      output: authorities.changedAuthority,
      service: (caller, order) => authorities.takeSigned(parts, caller, order),
    }),
    route({
      method: 'POST',
      path: '/v1/ca/forget-root-key',
      who: administrator,
      input: authorities.forgetOrder,
      output: authorities.changedAuthority,
      service: (caller, order) => authorities.forgetRootKey(parts, caller, order),
    }),
    route({
      method: 'POST',
      path: '/v1/ca/activate',
      who: administrator,
      input: authorities.activateOrder,
      output: authorities.changedAuthority,
      service: (caller, order) => authorities.activate(parts, caller, order),
    }),
    route({
      method: 'POST',
      path: '/v1/ca/taint',
      who: administrator,
      input: authorities.taintOrder,
      output: authorities.changedAuthority,
      service: (caller, order) => authorities.taint(parts, caller, order),
    }),
    route({
      method: 'POST',
      path: '/v1/ca/revoke',
      who: administrator,
      input: authorities.dropOrder,
      output: authorities.revokedAuthority,
      service: (caller, order) => authorities.revoke(parts, caller, order),
    }),
    route({
      method: 'GET',
      path: '/v1/policy',
      who: administrator,
      input: nothing,
      output: policy.policyAnswer,
      service: () => policy.currentPolicy(parts),
    }),
    route({
      method: 'PUT',
      path: '/v1/policy',
      who: administrator,
      input: policy.policyOrder,
      output: policy.appliedPolicy,
      bodyBytesMax: policyBodyBytesMax,
      service: (caller, order) => policy.applyPolicy(parts, caller, order),
    }),
    route({
      method: 'GET',
      path: '/v1/status',
      who: administrator,
      input: nothing,
      output: proxies.statusAnswer,
      service: () => proxies.status(parts),
    }),
    route({
      method: 'POST',
      path: '/v1/proxies/remove',
      who: administrator,
      input: proxies.removeOrder,
      output: proxies.removedProxy,
      service: (caller, order) => proxies.removeProxy(parts, caller, order),
    }),
    route({
      method: 'GET',
      path: '/v1/agents',
      who: administrator,
      input: agents.agentsQuery,
      output: agents.agentsAnswer,
      service: (caller, query) => agents.list(parts, caller, query),
    }),
    route({
      method: 'POST',
      path: '/v1/agents/suspend',
      who: administrator,
      input: agents.suspendOrder,
      output: agents.changedAgent,
      service: (caller, order) => agents.suspend(parts, caller, order),
    }),
    route({
      method: 'POST',
      path: '/v1/agents/resume',
      who: administrator,
      input: agents.resumeOrder,
      output: agents.changedAgent,
      service: (caller, order) => agents.resume(parts, caller, order),
    }),
    route({
      method: 'POST',
      path: '/v1/agents/delete',
      who: administrator,
      input: agents.deleteOrder,
      output: agents.deletedAgent,
      service: (caller, order) => agents.remove(parts, caller, order),
    }),
    route({
      method: 'POST',
      path: '/v1/revocations',
      who: administrator,
      input: revocations.revokeOrder,
      output: revocations.revokedAnswer,
      service: (caller, order) => revocations.revoke(parts, caller, order),
    }),
    route({
      method: 'POST',
      path: '/v1/revocations/restore',
      who: administrator,
      input: revocations.restoreOrder,
      output: revocations.restoredAnswer,
      service: (caller, order) => revocations.restore(parts, caller, order),
    }),
    route({
      method: 'GET',
      path: '/v1/revocations',
      who: administrator,
      input: revocations.revocationsQuery,
      output: revocations.revocationsAnswer,
      service: (caller, query) => revocations.listed(parts, caller, query),
    }),
    route({
      method: 'GET',
      path: '/v1/traffic',
      who: administrator,
      input: proxies.trafficQuery,
      output: proxies.trafficAnswer,
      service: (caller, query) => proxies.traffic(parts, caller, query),
    }),
    route({
      method: 'GET',
      path: '/v1/refusals',
      who: administrator,
      input: proxies.refusalsQuery,
      output: proxies.refusalsAnswer,
      service: (caller, query) => proxies.refusedLogIns(parts, caller, query),
    }),
  ]
}
