"""A headless Chromium, driven by its DevTools protocol over two pipes."""
import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

PROGRAMS = 'chromium', 'chromium-browser', 'google-chrome', 'chrome'


def find():
    """Returns the path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Page:
    """Page in a browser of its own.

    Attributes:
        events (list of dict): What the browser has reported so far.

    """

    def __init__(self, commands, answers):
        self._commands, self._answers = commands, answers
        self._rest = b''
        self._id = 0
        self._session = None
        self.events = []

    def call(self, method, **parameters):
        """Returns the result of a method of the protocol."""
        self._id += 1
        message = {'id': self._id, 'method': method, 'params': parameters}
        if self._session:
            message['sessionId'] = self._session
        data = json.dumps(message).encode() + b'\0'
        while data:
            data = data[os.write(self._commands, data):]
        while True:
            answer = self._read(60)
            if answer.get('id') == self._id:
                if 'error' in answer:
                    raise RuntimeError(f'{method}: {answer["error"]}')
                return answer['result']
            self.events.append(answer)

    def attach(self):
        """Takes the browser's first page."""
        target, *_ = [
            target for target in self.call('Target.getTargets')['targetInfos']
            if target['type'] == 'page']
        self._session = self.call(
            'Target.attachToTarget', targetId=target['targetId'],
            flatten=True)['sessionId']
        for domain in 'Page', 'Runtime', 'Log', 'Network':
            self.call(f'{domain}.enable')

    def resize(self, width, height, scale=1, dark=False, mobile=False):
        """Sets the size in CSS's pixels, dots per pixel, and the theme."""
        self.call('Emulation.setDeviceMetricsOverride', width=width,
                  height=height, deviceScaleFactor=scale, mobile=mobile)
        self.call('Emulation.setTouchEmulationEnabled', enabled=mobile)
        self.call('Emulation.setEmulatedMedia', features=[
            {'name': 'prefers-color-scheme',
             'value': 'dark' if dark else 'light'}])

    def open(self, path):
        """Opens a file and waits until it is there."""
        self.call('Page.navigate', url=path.resolve().as_uri())
        self.wait('document.readyState == "complete"')

    def run(self, expression):
        """Returns the value of an expression of JavaScript."""
        answer = self.call('Runtime.evaluate', expression=expression,
                           returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in answer:
            raise RuntimeError(f'{expression}: {answer["exceptionDetails"]}')
        return answer['result'].get('value')

    def wait(self, condition):
        """Waits for an expression to become true, 20 seconds at most."""
        end = time.monotonic() + 20
        while not self.run(condition):
            if time.monotonic() > end:
                raise TimeoutError(condition)
            time.sleep(.02)

    def settle(self):
        """Waits until the page has shown what was done."""
        self.run('new Promise(done => requestAnimationFrame('
                 '() => requestAnimationFrame(() => setTimeout(done, 250))))')

    def draw(self, points, touch=False):
        """Draws a stroke by mouse or finger.

        Args:
            points (list): Pairs x, y, shares of the element's ``drawing``.
            touch (bool): Whether a finger draws.

        """
        left, top, width, height = self.run(
            '(r => [r.left, r.top, r.width, r.height])(document'
            '.getElementById("drawing").getBoundingClientRect())')
        places = [{'x': left + x * width, 'y': top + y * height}
                  for x, y in points]
        if touch:
            for i, place in enumerate(places):
                self.call('Input.dispatchTouchEvent', touchPoints=[place],
                          type='touchMove' if i else 'touchStart')
            self.call('Input.dispatchTouchEvent', type='touchEnd',
                      touchPoints=[])
            return
        held = {'button': 'left', 'buttons': 1, 'clickCount': 1}
        self.call('Input.dispatchMouseEvent', type='mousePressed',
                  **places[0], **held)
        for place in places[1:]:
            self.call('Input.dispatchMouseEvent', type='mouseMoved', **place,
                      **held)
        self.call('Input.dispatchMouseEvent', type='mouseReleased',
                  **places[-1], button='left', clickCount=1)

    def press(self, key):
        """Presses a key, such as Escape."""
        for kind in 'keyDown', 'keyUp':
            self.call('Input.dispatchKeyEvent', type=kind, key=key)

    def picture(self):
        """Returns the page as a PNG."""
        return base64.b64decode(
            self.call('Page.captureScreenshot', format='png')['data'])

    def complaints(self):
        """Returns errors, warnings and requests, but for files opened."""
        self.run('0')
        return [event for event in self.events
                if event['method'] in ('Log.entryAdded',
                                       'Runtime.exceptionThrown',
                                       'Runtime.consoleAPICalled')
                or (event['method'] == 'Network.requestWillBeSent'
                    and event['params'].get('type') != 'Document')]

    def _read(self, seconds):
        while b'\0' not in self._rest:
            if not select.select([self._answers], [], [], seconds)[0]:
                raise TimeoutError('the browser does not answer')
            data = os.read(self._answers, 1 << 16)
            if not data:
                raise RuntimeError('the browser has ended')
            self._rest += data
        message, _, self._rest = self._rest.partition(b'\0')
        return json.loads(message)


@contextlib.contextmanager
def _folder():
    # A browser that is killed may still write to its own.
    folder = tempfile.mkdtemp()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def opened(program):
    """Runs a browser and gives its page.

    Args:
        program (str): Path of a Chromium.

    """
    there, commands = os.pipe()
    answers, back = os.pipe()

    def give_pipes():
        # The numbers 3 and 4 are Chromium's; first out of each other's way.
        first, second = os.dup(there), os.dup(back)
        while min(first, second) < 5:
            first, second = os.dup(first), os.dup(second)
        os.dup2(first, 3)
        os.dup2(second, 4)

    with _folder() as folder:
        process = subprocess.Popen(
            [program, '--headless', '--no-sandbox', '--disable-gpu',
             '--disable-dev-shm-usage', '--hide-scrollbars', '--no-first-run',
             '--disable-background-networking', '--remote-debugging-pipe',
             f'--user-data-dir={folder}', 'about:blank'],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=give_pipes)
        os.close(there)
        os.close(back)
        try:
            page = Page(commands, answers)
            page.attach()
            yield page
            page._session = None
            with contextlib.suppress(RuntimeError):
                page.call('Browser.close')
            process.wait(20)
        finally:
            os.close(commands)
            os.close(answers)
            if process.poll() is None:
                process.kill()
            process.wait()
