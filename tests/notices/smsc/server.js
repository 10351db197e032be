// An SMSC that does as it is told: a line of JSON on its input changes what it does from then on,
// a line on its output says what happened.
"use strict";
const readline = require("readline");
const smpp = require("smpp");

const how = {
  password: "secret",
  refuse_bind: 0, // how many binds are refused
  throttle: 0, // how many submits are answered that there are too many
  status: 0, // with which status submits are answered …
  status_times: 0, // … and how many
  drop_before_answer: 0, // how many submits are kept, and the connection dropped without an answer
  silent: false, // nothing is answered any more
  answer_ms: 0, // how late submits are answered
  receipt: "DELIVRD", // what receipts say; "" sends none
  receipt_ms: 20,
  receipt_early: false, // before the answer to the submit
  receipt_copies: 1,
  receipt_as: "text", // "hex", "option": how the message's id is written there
  receipt_text: "", // instead of all that, with %id%
  per_second: 0, // more are throttled
};
let ids = 1000;
let unanswered = 0;
let unanswered_max = 0;
let second = 0;
let in_second = 0;
const sessions = new Set();

function say(event, fields) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + "\n");
}

function take(session, pdu) {
  unanswered += 1;
  unanswered_max = Math.max(unanswered_max, unanswered);
  const status = refusal();
  if (status) {
    say("refused", { status, to: pdu.destination_addr });
    unanswered -= 1;
    session.send(pdu.response({ command_status: status }));
    return;
  }
  const id = String(++ids);
  const content = pdu.short_message;
  say("message", {
    id,
    to: pdu.destination_addr,
    from: pdu.source_addr,
    from_ton: pdu.source_addr_ton,
    text: content.message,
    udh: content.udh ? Array.from(content.udh[0]) : null,
    esm_class: pdu.esm_class,
    data_coding: pdu.data_coding,
    sar: [pdu.sar_msg_ref_num, pdu.sar_total_segments, pdu.sar_segment_seqnum],
    service_type: pdu.service_type,
    ussd: pdu.ussd_service_op ?? null,
    its_session: pdu.its_session_info ? Buffer.from(pdu.its_session_info).toString("hex") : null,
    registered: pdu.registered_delivery,
    valid: pdu.validity_period,
  });
  if (how.drop_before_answer > 0) {
    how.drop_before_answer -= 1;
    unanswered = 0;
    session.destroy();
    return;
  }
  const answer = () => {
    unanswered -= 1;
    const message_id = how.receipt_as === "hex" ? Number(id).toString(16).toUpperCase() : id;
    session.send(pdu.response({ message_id }));
  };
  if (how.receipt_early) receipts(session, pdu, id);
  setTimeout(answer, how.answer_ms);
  if (!how.receipt_early) {
    setTimeout(() => receipts(session, pdu, id), how.answer_ms + how.receipt_ms);
  }
}

function refusal() {
  const now = Math.floor(Date.now() / 1000);
  if (now !== second) [second, in_second] = [now, 0];
  in_second += 1;
  if (how.per_second && in_second > how.per_second) return smpp.ESME_RTHROTTLED;
  if (how.throttle > 0) {
    how.throttle -= 1;
    return smpp.ESME_RTHROTTLED;
  }
  if (how.status_times > 0) {
    how.status_times -= 1;
    return how.status;
  }
  return 0;
}

function receipts(session, pdu, id) {
  if (!how.receipt) return;
  const first = pdu.short_message.message.slice(0, 20);
  const rest = `sub:001 dlvrd:001 submit date:2601011200 done date:2601011200 err:000 text:${first}`;
  const receipt = {
    source_addr: pdu.destination_addr,
    source_addr_ton: 1,
    destination_addr: pdu.source_addr,
    esm_class: 4,
    data_coding: 0,
  };
  if (how.receipt_text) receipt.short_message = Buffer.from(how.receipt_text.replace("%id%", id));
  else if (how.receipt_as === "option") {
    receipt.short_message = Buffer.from("no text");
    receipt.receipted_message_id = id;
    receipt.message_state = how.receipt === "DELIVRD" ? 2 : 5;
  } else receipt.short_message = Buffer.from(`id:${id} ${rest} stat:${how.receipt}`);
  for (let copy = 0; copy < how.receipt_copies; copy++) deliver(session, receipt);
}

function deliver(session, pdu) {
  const to = sessions.has(session) ? session : sessions.values().next().value;
  if (!to) return setTimeout(() => deliver(session, pdu), 100);
  to.deliver_sm({ ...pdu }, (answer) =>
    say("acknowledged", { status: answer.command_status, to: pdu.destination_addr }));
}

const server = smpp.createServer((session) => {
  session.on("error", () => session.destroy());
  session.on("close", () => { sessions.delete(session); unanswered = 0; });
  session.on("pdu", (pdu) => {
    if (how.silent) return;
    if (pdu.command === "bind_transceiver") {
      const refused = how.refuse_bind > 0 || pdu.password !== how.password;
      how.refuse_bind -= 1;
      say("bind", { system_id: pdu.system_id, refused });
      const command_status = refused ? smpp.ESME_RINVPASWD : 0;
      session.send(pdu.response({ command_status, system_id: "smsc" }));
      if (!refused) sessions.add(session);
    } else if (pdu.command === "submit_sm") take(session, pdu);
    else if (pdu.command === "unbind") {
      say("unbind", {});
      session.send(pdu.response());
      session.close();
    } else if (pdu.command === "enquire_link") {
      say("enquire_link", {});
      session.send(pdu.response());
    } else if (pdu.command === "generic_nack") say("generic_nack", { status: pdu.command_status });
    else if (pdu.command === "enquire_link_resp") say("enquire_link_resp", {});
  });
});
server.on("error", (error) => say("error", { error: String(error) }));

const orders = {
  set: (fields) => Object.assign(how, fields),
  drop: () => sessions.forEach((session) => session.destroy()),
  enquire: () => sessions.forEach((session) => session.enquire_link()),
  unbind: () => sessions.forEach((session) => session.unbind()),
  raw: ({ hex }) => sessions.forEach((session) => session.socket.write(Buffer.from(hex, "hex"))),
  deliver: (pdu) => {
    if (pdu.hex) pdu.short_message = Buffer.from(pdu.hex, "hex");
    if (pdu.its_session) pdu.its_session_info = Buffer.from(pdu.its_session, "hex");
    deliver(null, pdu);
  },
  ask: () => say("asked", { unanswered_max, sessions: sessions.size }),
};
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const { order, ...fields } = JSON.parse(line);
  orders[order](fields);
  say("done", { order });
}).on("close", () => process.exit(0));

server.listen(Number(process.argv[2] || 0), "127.0.0.1", () =>
  say("ready", { port: server.address().port }));
