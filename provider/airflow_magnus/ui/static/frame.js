// Links to Airflow's own pages, from a frame inside one. Airflow's sandbox of the frame lets no link of it take the place
// of the whole window, so the page around, which is of the same origin, follows the link in place of this one.
(function () {
  "use strict";
  if (window.top === window) {
    return;
  }
  document.addEventListener("click", function (event) {
    var link = event.target.closest ? event.target.closest("a[target=_top]") : null;
    if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) {
      return;
    }
    var url = new URL(link.href);
    if (url.origin !== window.location.origin || !/^https?:$/.test(url.protocol)) {
      return;
    }
    event.preventDefault();
    var outer = window.top.document;
    var twin = outer.createElement("a");
    twin.href = url.href;
    outer.body.append(twin);
    twin.click();
    twin.remove();
  });
})();
