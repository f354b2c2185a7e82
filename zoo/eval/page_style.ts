/**
 * How the report page looks: no fonts, scripts or files from elsewhere; light and dark.
 *
 * @module
 */

/** The style sheet of the page. */
export const pageStyle = `
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --dim: #777; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1.5rem; max-width: 76rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { margin: .4rem 0; }
.notice { border-left: .3rem solid #d33; padding: .3rem .8rem; background: var(--soft); font-weight: 600; }
.dim { color: var(--dim); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { text-align: left; padding: .15rem .9rem .15rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.number small { color: var(--dim); }
details { margin: .5rem 0; }
summary { cursor: pointer; font-weight: 600; }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: .4rem; overflow: hidden; }
figure img { display: block; width: 100%; max-height: 24rem; object-fit: contain; background: #000; }
figure .none { display: grid; place-items: center; height: 6rem; background: var(--soft); color: var(--dim); }
figcaption { padding: .5rem .7rem; font-size: .88rem; }
figcaption dl { margin: 0; }
dt { color: var(--dim); font-size: .78rem; margin-top: .3rem; }
dd { margin: 0; max-height: 9rem; overflow-y: auto; overflow-wrap: anywhere; white-space: pre-wrap; }
.truth, .answer, .region { display: inline-block; width: .8em; height: .8em; border: .2em solid; vertical-align: -.1em; }
.truth { border-color: rgb(0 200 255); } .answer { border-color: rgb(255 196 0); }
.region { border-color: #fff; outline: 1px solid var(--line); }
`;
