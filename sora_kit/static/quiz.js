// A quiz: every answer says why it is right or wrong, to eyes and to screen readers.

const quizStyle = `.sk .question { margin: 0 0 26px; padding: 0; } .sk .question legend { font-size: 16px; font-weight: 650; color: var(--ink); margin-bottom: 8px; display: block; }
.sk .answer { display: flex; gap: 10px; align-items: flex-start; padding: 8px 10px; border-radius: 9px; cursor: pointer; } .sk .answer:hover { background: var(--sunk); }
.sk .answer input { margin-top: 3px; flex: none; } .sk .said { margin: 6px 0 0 10px; padding: 8px 12px; border-left: 4px solid var(--line); min-height: 1.5em; border-radius: 0 8px 8px 0; }
.sk .said:empty { border-color: transparent; } .sk .said.right { border-color: var(--third); background: var(--raised); } .sk .said.wrong { border-color: var(--second); background: var(--raised); }`;

async function render({ model, el }) {
  const { title, lead, questions, words } = model.get("data");
  const root = shell(el, title, lead);
  const score = h("p", { class: "words", "aria-live": "polite" }), right = new Set();
  const tell = () => { score.textContent = right.size ? `${right.size} / ${questions.length}` + (right.size === questions.length ? ` – ${words.done}` : "") : ""; };

  root.append(h("style", {}, quizStyle), ...questions.map((q, number) => {
    const many = q.type === "many_choice", name = unique("question");
    const said = h("div", { class: "said", role: "status" });
    const boxes = q.answers.map((a, i) => h("input", { type: many ? "checkbox" : "radio", name, value: i, onchange: () => many ? said.replaceChildren() : judge() }));
    function judge() {
      const chosen = boxes.map(b => b.checked), good = q.answers.every((a, i) => a.correct === chosen[i]);
      said.className = `said ${good ? "right" : "wrong"}`;
      const open = many && !good && q.answers.every((a, i) => a.correct || !chosen[i]) ? [h("p", {}, words.more)] : [];
      said.replaceChildren(h("strong", {}, good ? words.right : words.wrong), ...q.answers.filter((a, i) => chosen[i]).map(a => h("p", {}, a.feedback)), ...open);
      good ? right.add(number) : right.delete(number);
      tell();
    }
    return h("fieldset", { class: "question" }, h("legend", {}, `${number + 1}. ${q.question}`),
      q.answers.map((a, i) => h("label", { class: "answer" }, boxes[i], h("span", {}, a.answer))),
      many ? h("button", { type: "button", onclick: judge, style: "margin: 8px 10px" }, words.check) : null, said);
  }), score);
}

export default { render };
